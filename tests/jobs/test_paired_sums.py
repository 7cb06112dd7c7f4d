"""Changes of means from sums over pairs: what they are, how wide, and how often their intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.figures import Estimate
from jobs.paired_sums import PairedSums


def changed(first: np.ndarray, second: np.ndarray, reach: float) -> Estimate:
    """Of one key; in two parts."""
    sums, half = PairedSums(3), first.size // 2
    for part in (slice(0, half), slice(half, None)):
        sums.add(np.full(first[part].size, 1), first[part].astype(float), second[part].astype(float))
    assert (sums.pictures(0), sums.pictures(1)) == (0, first.size)
    return sums.change([0, 1], reach, np.random.default_rng(0))


def test_the_change_of_a_mean_is_the_mean_of_the_changes() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 40))
    found = changed(first, second, np.inf)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.n == 40
    # half the width: the standard error of the 40 changes and of one picture on which the two do not agree at all
    squares = ((first - second) ** 2).sum() - 40 * found.value**2 + first.var() + second.var()
    assert found.interval.high - found.value == pytest.approx(1.96 * np.sqrt(squares / (40 * 39)), rel=1e-3)
    assert found.draws.std() == pytest.approx(np.sqrt(squares / (40 * 39)), rel=0.05)


@pytest.mark.parametrize(("reach", "widest"), [(1, 0.03), (2, 0.03), (np.inf, 0.03)])
def test_pictures_that_all_agree_leave_some_doubt(reach: float, widest: float) -> None:
    """Of 100 pictures without a change there may be as many as 3 in 100 with one."""
    same = np.random.default_rng(2).random(100) if reach == np.inf else np.ones(100)
    found = changed(same, same, reach)
    assert found.value == 0
    assert 0.005 < found.interval.high == -found.interval.low < widest


def test_intervals_do_not_reach_beyond_what_can_be() -> None:
    found = changed(np.ones(20), np.zeros(20), 1)
    assert (found.value, found.interval.high) == (1, 1)
    assert 0.8 < found.interval.low < 0.95


def test_of_no_picture_nothing_is_said() -> None:
    assert PairedSums(1).change([0], 1, np.random.default_rng(0)).n == 0


@pytest.mark.parametrize("pictures", [20, 100])
@pytest.mark.parametrize(("won", "lost"), [(0.0, 0.0), (0.02, 0.0), (0.02, 0.02), (0.1, 0.02), (0.3, 0.1), (0.5, 0.0)])
def test_intervals_of_changed_accuracies_cover_the_truth(pictures: int, won: float, lost: float) -> None:
    """Two classifiers of which one is right where the other is wrong on some pictures; else both are, on 80 %."""
    generator, hits, repeats = np.random.default_rng(3), 0, 1000
    for _ in range(repeats):
        draw, both = generator.random(pictures), generator.random(pictures) < 0.8
        first = np.where(draw < won, True, np.where(draw < won + lost, False, both))
        second = np.where(draw < won, False, np.where(draw < won + lost, True, both))
        interval = changed(first, second, 1).interval
        hits += interval.low <= won - lost <= interval.high
    assert hits / repeats >= 0.93


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_intervals_of_changed_amounts_cover_the_truth(alike: float) -> None:
    generator, hits, repeats = np.random.default_rng(4), 0, 400
    for _ in range(repeats):
        first, other = generator.standard_t(5, size=(2, 30))
        interval = changed(first, alike * first + np.sqrt(1 - alike**2) * other + 0.5, np.inf).interval
        hits += interval.low <= -0.5 <= interval.high
    assert hits / repeats >= 0.93
