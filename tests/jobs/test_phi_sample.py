"""The bounded sample of features by class: fair, the same however the work was cut, and read one class at a time."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest

from jobs import phi_sample
from jobs.phi_sample import PhiSample, join, lot, lowest, read_sample, thin, write_sample


def pictures(rows: range, classes: int = 3, width: int = 4) -> PhiSample:
    """Pictures of all classes in turn, their features told by their rows."""
    row = np.array(rows, dtype=np.int64)
    group = (row % classes).astype(np.int32)
    phi = np.stack([row + 0.25 * j for j in range(width)], axis=1).astype(np.float32)
    return PhiSample(row, group, group, np.full(len(row), -1, np.int32), phi)


def test_a_small_class_is_kept_whole() -> None:
    whole = pictures(range(300))
    assert thin(whole, 0, [100, 100, 100]).row.tolist() == whole.row.tolist()
    assert len(lowest(whole, 0)) == 300


def test_of_a_large_class_the_same_pictures_are_kept_however_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phi_sample, "MOST_PER_CLASS", 50)
    whole = pictures(range(3000), classes=1)

    def kept(cuts: list[int]) -> list[int]:
        parts = [pictures(range(a, b), classes=1) for a, b in zip([0, *cuts], [*cuts, 3000], strict=True)]
        return lowest(join([thin(part, 7, [3000]) for part in parts], 4), 7).row.tolist()

    assert kept([]) == kept([1, 700, 2999]) == sorted(sorted(whole.row.tolist(), key=lambda row: lot(7, row))[:50])
    assert kept([]) != lowest(whole, 8).row.tolist()


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
    assert join([], 4).phi.shape == (0, 4)
