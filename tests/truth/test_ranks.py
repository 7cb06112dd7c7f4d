"""Ranks, against cases worked by hand."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from tests.truth.ranks import auroc, ranks, spearman, spearman_interval


def test_ties_share_their_mean_rank() -> None:
    assert ranks([3, 1, 3, 2]).tolist() == [3.5, 1, 3.5, 2]


def test_spearman_is_one_minus_six_squared_differences_where_there_are_no_ties() -> None:
    """Ranks 1 2 3 4 5 against 2 1 4 3 5: the squared differences add up to 4, so 1 - 6 * 4 / (5 * 24)."""
    assert spearman([1, 2, 3, 4, 5], [20, 10, 40, 30, 50]) == pytest.approx(0.8)
    assert spearman([1, 2, 3], [9, 8, 7]) == pytest.approx(-1)
    assert isnan(spearman([1, 2, 3], [4, 4, 4]))


def test_ranks_are_taken_along_the_last_axis() -> None:
    assert ranks([[3, 1], [1, 3]]).tolist() == [[2, 1], [1, 2]]


def test_the_interval_of_spearman_holds_it_and_narrows_with_agreement_and_pairs() -> None:
    generator = np.random.default_rng(1)
    truth = generator.random(40)
    near, far = (truth + noise * generator.random(40) for noise in (0.3, 2.0))

    def width(figures: np.ndarray, count: int) -> float:
        pair = truth[:count].tolist(), figures[:count].tolist()
        found = spearman_interval(*pair)
        assert found is not None
        assert found.low <= spearman(*pair) <= found.high
        return found.high - found.low

    assert width(near, 40) < width(far, 40)
    assert width(near, 40) < width(near, 10)


def test_what_has_no_order_has_no_interval() -> None:
    assert spearman_interval([1, 2, 3], [4, 4, 4]) is None
    assert spearman_interval([], []) is None


def test_auroc_counts_pairs_and_ties_half() -> None:
    assert auroc([2, 3], [1, 2]) == pytest.approx(3.5 / 4)
    assert isnan(auroc([], [1]))
