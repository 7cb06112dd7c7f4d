"""The bound of a top share is what sorting all activations gives, and never needs them together."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.top_share import thresholds


def activations(pictures: int) -> np.ndarray:
    """float32 [N, 4]: of both signs, silent on half, with many ties, and silent always."""
    drawn = np.random.default_rng(pictures).normal(size=(pictures, 4)).astype(np.float32)
    drawn[:, 1] = np.maximum(drawn[:, 1], 0)
    drawn[:, 2] = np.round(drawn[:, 2])
    drawn[:, 3] = 0
    return drawn


@pytest.mark.parametrize("share", [1e-6, 0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("pictures", [1, 7, 1300])
def test_the_bound_is_that_of_a_sorted_list(share: float, pictures: int) -> None:
    values = activations(pictures)
    shown = max(1, int(share * pictures + 0.5))
    expected = np.sort(values, axis=0)[::-1][shown - 1]
    found = thresholds(lambda: [(3, values)], share)
    assert found[3].tolist() == expected.tolist()


def test_however_the_pictures_are_cut_the_bounds_are_the_same() -> None:
    first, second = activations(500), activations(41)[:, :2]
    whole = thresholds(lambda: [(0, first), (5, second)], 0.1)
    cut = thresholds(lambda: [(5, second[:9]), (0, first[:1]), (5, second[9:]), (0, first[1:])], 0.1)
    assert sorted(whole) == sorted(cut) == [0, 5]
    assert all(np.array_equal(whole[index], cut[index]) for index in whole)


def test_five_percent_of_1300_are_65_as_in_the_paper() -> None:
    values = np.arange(1300, dtype=np.float32)[:, None]
    (bound,) = thresholds(lambda: [(0, values)], 0.05)[0]
    assert (values >= bound).sum() == 65


def test_minus_zero_is_zero() -> None:
    values = np.array([[-0.0], [0.0], [-1.0]], dtype=np.float32)
    assert thresholds(lambda: [(0, values)], 0.6)[0].tolist() == [0.0]


def test_no_pictures_have_no_bounds() -> None:
    assert thresholds(list, 0.5) == {}
