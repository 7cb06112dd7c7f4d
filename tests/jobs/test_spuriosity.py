"""Spuriosity is the mean z-score, and the highest are the highest: the released rankings' slice is a trap."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.spuriosity import Extremes, Ranked, moments_of, ranking, spuriosity
from models.moments import Moments


def ranked(scores: np.ndarray) -> list[Ranked]:
    return [Ranked(float(score), row, f"{row}.png") for row, score in enumerate(scores)]


def told(scores: np.ndarray, most: int, parts: int = 1) -> tuple[list[int], list[int]]:
    """Rows of the highest and of the lowest, best first, the pictures given in some parts."""
    ends = Extremes(most)
    pictures = ranked(scores)
    for part in np.array_split(np.arange(len(pictures)), parts):
        ends = ends.add([pictures[row] for row in part])
    found = ranking(0, "cat", [7], Moments.of(scores[:, None]), ends)
    return [one.row for one in found.highest], [one.row for one in found.lowest]


def test_spuriosity_is_the_mean_z_score_by_a_second_way() -> None:
    values = np.random.default_rng(0).gamma(2, size=(200, 3)).astype(np.float32)
    expected = [
        sum((values[n, k] - values[:, k].mean()) / np.std(values[:, k], ddof=0) for k in range(3)) / 3
        for n in range(200)
    ]
    assert spuriosity(values, Moments.of(values)) == pytest.approx(expected, abs=1e-4)


def test_a_hand_computed_case() -> None:
    values = np.array([[1.0, 10.0], [3.0, 10.0]], dtype=np.float32)
    assert spuriosity(values, Moments.of(values)).tolist() == [-0.5, 0.5], "z is -1 and 1, and 0 for what never changes"


def test_features_that_never_change_say_nothing() -> None:
    values = np.full((5, 2), 3.0, dtype=np.float32)
    assert spuriosity(values, Moments.of(values)).tolist() == [0.0] * 5
    assert spuriosity(values[:1], Moments.of(values[:1])).tolist() == [0.0]


def test_moments_do_not_depend_on_the_cut() -> None:
    values = np.random.default_rng(1).normal(size=(100, 2)).astype(np.float32)
    parts = moments_of([(4, values[:3]), (9, values), (4, values[3:])])
    assert parts[4].mean == pytest.approx(values.mean(axis=0), abs=1e-6)
    assert parts[4].std == pytest.approx(values.std(axis=0), abs=1e-6)


def test_the_highest_of_1300_are_the_highest_and_not_ranks_300_to_399() -> None:
    scores = np.random.default_rng(2).normal(size=1300).astype(np.float32)
    descending = np.argsort(-scores, kind="stable")
    highest, lowest = told(scores, most=100)
    assert highest == descending[:100].tolist()
    assert lowest == descending[::-1][:100].tolist()
    last_1000_of_an_ascending_order = np.argsort(scores, kind="stable")[-1000:]
    assert set(last_1000_of_an_ascending_order[:100].tolist()) == set(descending[900:1000].tolist())
    assert not set(highest) & set(last_1000_of_an_ascending_order[:100].tolist())


def test_the_ends_of_50_pictures_are_not_the_same_list() -> None:
    scores = np.random.default_rng(3).normal(size=50).astype(np.float32)
    highest, lowest = told(scores, most=100)
    assert len(highest) == len(lowest) == 25
    assert not set(highest) & set(lowest)
    assert scores[highest].min() > scores[lowest].max()


def test_one_picture_is_in_neither_list() -> None:
    assert told(np.zeros(1, dtype=np.float32), most=10) == ([], [])


@pytest.mark.parametrize("parts", [2, 7, 50])
def test_equal_pictures_come_by_row_however_they_are_cut(parts: int) -> None:
    scores = np.repeat(np.array([1.0, 0.0], dtype=np.float32), 25)
    assert told(scores, 5, parts) == told(scores, 5) == ([0, 1, 2, 3, 4], [25, 26, 27, 28, 29])
