"""Figures from counts and their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.statistics import (
    DRAWS,
    average_precision,
    benjamini_hochberg,
    expected_pairs,
    mean_of_classes,
    more_often_right,
    more_often_right_apart,
    paired_difference,
    paired_rcs,
    rcs,
    repeated_draws,
    smoothed_draws,
    spanned,
    wilson,
)


@pytest.mark.parametrize(
    ("outside", "on_core", "expected"),
    [(0.8, 0.4, 0.5), (0.9, 0.7, 0.5), (0.3, 0.5, -0.25), (1, 0, 1), (0, 1, -1), (1, 1, 0), (0, 0, 0)],
)
def test_rcs_has_its_known_values(outside: float, on_core: float, expected: float) -> None:
    assert rcs(outside, on_core) == pytest.approx(expected)


@given(st.floats(0, 1), st.floats(0, 1))
def test_rcs_stays_in_its_range_and_is_antisymmetric(first: float, second: float) -> None:
    assert -1 - 1e-9 <= float(rcs(first, second)) <= 1 + 1e-9
    assert float(rcs(first, second)) == pytest.approx(-float(rcs(second, first)))


def test_average_precision_of_a_worked_example() -> None:
    # ranked truth 1 0 1 1 0: precision at the hits 1, 2/3, 3/4
    assert average_precision([5, 4, 3, 2, 1], [1, 0, 1, 1, 0]) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_average_precision_of_equal_scores_is_the_base_rate() -> None:
    positives = np.arange(40).reshape(5, 8) < 6
    assert average_precision(np.ones((5, 8)), positives) == pytest.approx(6 / 40)


def test_average_precision_does_not_depend_on_the_order_among_ties() -> None:
    scores, positives = [1, 1, 1, 0, 0], [1, 0, 0, 1, 0]
    assert average_precision(scores, positives) == average_precision(scores, [0, 0, 1, 0, 1])


def test_average_precision_without_positives_is_not_a_number() -> None:
    assert np.isnan(average_precision([0.1, 0.2], [False, False]))


def test_wilson_has_its_published_value() -> None:
    # Newcombe (1998), table I, 81 of 263: 0.2553 to 0.3662
    interval = wilson(81, 263)
    assert (interval.low, interval.high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


@pytest.mark.parametrize("n", [0, 1, 20, 10_000])
def test_wilson_stays_in_the_unit_interval_and_holds_its_share(n: int) -> None:
    for successes in {0, n // 3, n}:
        interval = wilson(successes, n)
        assert 0 <= interval.low <= (successes / n if n else 0.5) <= interval.high <= 1


def test_paired_figures_of_a_table() -> None:
    table = np.array([[10, 5], [25, 60]], dtype=float)  # 85 of 100 right in the first condition, 65 in the second
    assert paired_difference(table) == pytest.approx(0.20)
    assert paired_rcs(table) == pytest.approx(rcs(0.85, 0.65))


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize("shares", [[0.02, 0.01, 0.01, 0.96], [0.2, 0.05, 0.15, 0.6], [0.2, 0.0, 0.5, 0.3]])
def test_intervals_of_paired_differences_cover_the_truth(n: int, shares: list[float]) -> None:
    generator = np.random.default_rng(5)
    truth = float(paired_difference(np.array(shares).reshape(2, 2)))
    covered = 0
    for _ in range(200):
        table = generator.multinomial(n, shares).reshape(2, 2)
        interval = spanned(
            float(paired_difference(table.astype(float))), paired_difference(smoothed_draws(table, generator))
        )
        covered += interval.low <= truth <= interval.high
    assert covered / 200 >= 0.91  # 0.95 less two standard errors of 200 trials, and some for n = 20


def test_agreement_on_few_pictures_is_not_certainty() -> None:
    table = np.array([[0, 0], [0, 20]])
    draws = paired_difference(smoothed_draws(table, np.random.default_rng(0)))
    interval = spanned(0.0, draws)
    assert interval.low < -0.05
    assert interval.high > 0.05


def test_the_mean_of_many_small_classes_is_not_pulled_towards_zero() -> None:
    """Each class's half counts shrink it by a tenth; a mean over 400 classes must not inherit that."""
    generator = np.random.default_rng(1)
    values, draws = [], []
    for _ in range(400):
        table = generator.multinomial(20, [0.2, 0.0, 0.6, 0.2]).reshape(2, 2)
        values.append(float(paired_difference(table.astype(float))))
        draws.append(paired_difference(smoothed_draws(table, generator)))
    value, interval, _ = mean_of_classes(values, draws, lowest=-1)
    assert interval.low <= 0.6 <= interval.high
    assert interval.high - interval.low < 0.03
    assert interval.low <= value <= interval.high


def test_mcnemar_counts_only_pictures_that_differ() -> None:
    # 9 heads of 10 coins: (10 + 1) / 1024
    assert more_often_right([[500, 1], [9, 70]]) == pytest.approx(11 / 1024)
    assert more_often_right([[0, 1], [9, 0]]) == pytest.approx(11 / 1024)
    assert more_often_right([[3, 0], [0, 4]]) == 1


def test_mcnemar_handles_a_million_pictures() -> None:
    assert more_often_right([[0, 100_000], [101_000, 0]]) == pytest.approx(0.0129, abs=2e-4)


def test_benjamini_hochberg_of_a_worked_example() -> None:
    adjusted = benjamini_hochberg([0.01, 0.04, 0.03, 0.5])
    assert adjusted == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert benjamini_hochberg([]) == []


def test_fishers_test_equals_the_enumeration_of_all_tables() -> None:
    """The lady tasting tea (Fisher, 1935): 3 of 4 right has p = 17/70."""
    assert more_often_right_apart([1, 3], [3, 1]) == pytest.approx(17 / 70)
    assert more_often_right_apart([0, 4], [4, 0]) == pytest.approx(1 / 70)
    assert more_often_right_apart([4, 0], [0, 4]) == pytest.approx(1)
    assert more_often_right_apart([0, 0], [5, 5]) == pytest.approx(1)
    assert more_often_right_apart([35, 40], [4995, 5]) < 1e-50


def test_repeats_of_one_are_plain_pairs() -> None:
    counts = np.array([[3, 1], [7, 9]])
    np.testing.assert_array_equal(
        repeated_draws(counts, np.random.default_rng(0)), smoothed_draws(counts, np.random.default_rng(0))
    )
    np.testing.assert_array_equal(expected_pairs(counts), counts)


def test_repeats_are_averaged_over_and_pictures_stay_what_is_counted() -> None:
    """Three draws: ten pictures right in all of the first and two of the second, five in none and one."""
    counts = np.zeros((4, 4))
    counts[3, 2], counts[0, 1] = 10, 5
    pairs = expected_pairs(counts)
    assert pairs.sum() == pytest.approx(15)
    assert paired_difference(pairs) == pytest.approx((10 * (1 - 2 / 3) - 5 * (1 / 3)) / 15)
    draws = repeated_draws(counts, np.random.default_rng(0))
    assert draws.sum(axis=(1, 2)) == pytest.approx(np.ones(DRAWS))
    assert not draws[:, 1, 1].any()  # the halves lie in the corners alone
