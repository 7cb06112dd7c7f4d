"""The bounded sample of features by class: fair, the same however the work was cut, and read one class at a time."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from jobs import phi_sample
from jobs.phi_sample import PhiSample, gather, join, lot, read_sample, thin, write_sample


def pictures(rows: range, classes: int = 3, width: int = 4) -> PhiSample:
    """Pictures of all classes in turn, their features told by their rows."""
    row = np.array(rows, dtype=np.int64)
    group = (row % classes).astype(np.int32)
    phi = np.stack([row + 0.25 * j for j in range(width)], axis=1).astype(np.float32)
    return PhiSample(row, group, group, np.full(len(row), -1, np.int32), phi)


def drawn(sample: PhiSample, seed: int, count: int) -> list[int]:
    """The rows of lowest lot."""
    return sorted(sorted(sample.row.tolist(), key=lambda row: lot(seed, row))[:count])


def test_a_small_class_is_kept_whole() -> None:
    whole = pictures(range(300))
    assert thin(whole, 0, [100, 100, 100]).row.tolist() == whole.row.tolist()


@pytest.mark.parametrize("size", [3000, 40, 9000])
def test_of_a_large_group_the_same_pictures_are_kept_however_it_was_cut(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a group of predictions is larger than the class of its label, or smaller: then its share is kept."""
    monkeypatch.setattr(phi_sample, "MOST_PER_CLASS", 50)
    whole = pictures(range(3000), classes=1)

    def kept(cuts: list[int]) -> list[int]:
        parts = [pictures(range(a, b), classes=1) for a, b in zip([0, *cuts], [*cuts, 3000], strict=True)]
        return thin(join([thin(part, 7, [size]) for part in parts], 4), 7, [size]).row.tolist()

    own = sum(lot(7, row) < 1.25 * 50 / size for row in range(3000))
    assert kept([]) == kept([1, 700, 2999]) == drawn(whole, 7, min(own, 50))
    assert kept([]) != thin(whole, 8, [size]).row.tolist()


def test_a_shard_never_keeps_more_of_a_group_than_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the encoder predicts: it may take every picture for a class that few are labelled as."""
    monkeypatch.setattr(phi_sample, "MOST_PER_CLASS", 50)
    assert thin(pictures(range(3000), classes=1), 7, [2]).row.tolist() == drawn(pictures(range(3000)), 7, 50)
    assert len(thin(pictures(range(3000), classes=2), 7, [2, 0])) == 100


def test_what_many_shards_kept_is_gathered_without_holding_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phi_sample, "MOST_PER_CLASS", 50)
    held: list[int] = []

    def noted(samples: Sequence[PhiSample], width: int) -> PhiSample:
        held.append(sum(map(len, samples)))
        return join(samples, width)

    monkeypatch.setattr(phi_sample, "join", noted)
    shards = [pictures(range(start, start + 30), classes=1) for start in range(0, 3000, 30)]
    found = gather((thin(shard, 7, [2]) for shard in shards), [0, 5], 4, 7, [2, 0, 0, 0, 0, 0])
    assert found[0].row.tolist() == drawn(pictures(range(3000)), 7, 50)
    assert len(found[5]) == 0
    assert max(held) <= 100 + 30


def test_one_class_is_read_alone() -> None:
    sink = pa.BufferOutputStream()
    write_sample(pictures(range(30)), sink)
    file = io.BytesIO(sink.getvalue().to_pybytes())
    (found,) = read_sample(file, {1})
    assert found.row.tolist() == list(range(1, 30, 3))
    assert np.array_equal(found.phi[:, 1], found.row + 0.25)
    assert [int(part.group[0]) for part in read_sample(file, {0, 2})] == [0, 2]


def test_nothing_at_all_is_an_empty_sample() -> None:
    sink = pa.BufferOutputStream()
    write_sample(pictures(range(0)), sink)
    assert list(read_sample(io.BytesIO(sink.getvalue().to_pybytes()), {0})) == []
    assert thin(join([], 4), 0, [9]).phi.shape == (0, 4)
