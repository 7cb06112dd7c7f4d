"""Ranks, against cases worked by hand."""

from __future__ import annotations

from math import isnan

import pytest

from tests.truth.ranks import auroc, ranks, spearman


def test_ties_share_their_mean_rank() -> None:
    assert ranks([3, 1, 3, 2]).tolist() == [3.5, 1, 3.5, 2]


def test_spearman_is_one_minus_six_squared_differences_where_there_are_no_ties() -> None:
    """Ranks 1 2 3 4 5 against 2 1 4 3 5: the squared differences add up to 4, so 1 - 6 * 4 / (5 * 24)."""
    assert spearman([1, 2, 3, 4, 5], [20, 10, 40, 30, 50]) == pytest.approx(0.8)
    assert spearman([1, 2, 3], [9, 8, 7]) == pytest.approx(-1)
    assert isnan(spearman([1, 2, 3], [4, 4, 4]))


def test_auroc_counts_pairs_and_ties_half() -> None:
    assert auroc([2, 3], [1, 2]) == pytest.approx(3.5 / 4)
    assert isnan(auroc([], [1]))
