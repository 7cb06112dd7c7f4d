"""Who lends spurious features to whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from jobs.datasets import Pictures, Sample
from jobs.donors import CHUNK, MOST_CANDIDATES, MOST_DONORS, Donor, Donors

SIDE = 4


class Herd:
    """A data set of `counts` pictures per class, of which some show their cue; remembers what was read."""

    def __init__(self, *counts: int, showing: float = 1.0) -> None:
        self.labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self.shows = np.random.default_rng(0).random(self.labels.size) < showing
        self.read: list[int] = []

    def donors(self, seed: int = 0, classes: Sequence[int] | None = None, side: int = SIDE) -> Donors:
        lending = range(int(self.labels.max()) + 1) if classes is None else classes
        of_label = np.arange(self.labels.max() + 1, dtype=np.int32)
        return Donors(Pictures(self.labels, self._samples), of_label, lending, side, seed, self._look)

    def _samples(self, rows: Sequence[int]) -> list[Sample]:
        assert list(rows) == sorted(rows), "rows must ascend"
        self.read.extend(rows)
        return [Sample(row, str(row), int(self.labels[row]), b"") for row in rows]

    def _look(self, samples: Sequence[Sample], class_index: int) -> list[Donor]:
        assert len(samples) <= CHUNK
        assert {sample.label for sample in samples} == {class_index}
        empty = torch.zeros(SIDE, SIDE)
        return [Donor(s.row, class_index, empty, empty, empty) for s in samples if self.shows[s.row]]


def pairs(herd: Herd, donors: Donors, rows: Sequence[int]) -> list[tuple[int, int]]:
    found = [donors.pair(int(herd.labels[row]), row, str(row)) for row in rows]
    return [(pair.same.row, pair.other.row) for pair in found if pair is not None]


def test_one_donor_is_of_the_class_and_one_is_not_and_none_is_the_picture_itself() -> None:
    herd = Herd(30, 30, 30)
    rows = range(90)
    for row, (same, other) in zip(rows, pairs(herd, herd.donors(), rows), strict=True):
        assert same != row
        assert herd.labels[same] == herd.labels[row]
        assert herd.labels[other] != herd.labels[row]


def test_donors_depend_on_the_picture_and_the_seed_alone() -> None:
    herd = Herd(30, 30, 30, showing=0.5)
    rows = list(range(90))
    whole = pairs(herd, herd.donors(), rows)
    backwards = pairs(herd, herd.donors(), rows[::-1])[::-1]
    assert whole == backwards == pairs(herd, herd.donors(), rows[:40]) + pairs(herd, herd.donors(), rows[40:])
    assert whole != pairs(herd, herd.donors(seed=1), rows)


def test_only_pictures_that_show_the_cue_lend_it() -> None:
    herd = Herd(40, 40, showing=0.3)
    lent = {row for pair in pairs(herd, herd.donors(), range(80)) for row in pair}
    assert lent
    assert all(herd.shows[row] for row in lent)


def test_donors_are_many_and_their_search_is_bounded() -> None:
    herd = Herd(1000, 1000)
    lent = {same for same, _ in pairs(herd, herd.donors(), range(1000))}
    assert len(lent) == MOST_DONORS
    assert len(herd.read) == 2 * CHUNK, "every candidate showed its cue, so one look per class sufficed"
    rare = Herd(1000, 1000, showing=0.0)
    assert pairs(rare, rare.donors(), range(50)) == []
    assert len(rare.read) == MOST_CANDIDATES


def test_large_inputs_of_many_classes_keep_fewer_donors() -> None:
    herd = Herd(*[20] * 200)
    lent = {same for same, _ in pairs(herd, herd.donors(side=512), range(20))}
    assert len(lent) == 2


def test_a_class_of_one_picture_is_not_looked_at() -> None:
    herd = Herd(1, 1, 30)
    assert pairs(herd, herd.donors(), [0, 1]) == []
    assert herd.read == []


def test_classes_that_may_not_lend_do_not() -> None:
    herd = Herd(20, 20, 20)
    assert {int(herd.labels[other]) for _, other in pairs(herd, herd.donors(classes=[0, 2]), range(20))} == {2}
    assert pairs(herd, herd.donors(classes=[0]), range(20)) == []


def test_a_class_whose_partners_show_nothing_takes_from_the_next() -> None:
    herd = Herd(20, 20, 20)
    herd.shows[20:40] = False
    assert {int(herd.labels[other]) for _, other in pairs(herd, herd.donors(), range(20))} == {2}
