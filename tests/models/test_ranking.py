"""Average precision and AUROC are two figures; a release calls the first by the name of the second."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.ranking import auroc, average_precision_of_counts, paired_ranking_draws, ranking_draws
from models.statistics import DRAWS, average_precision

POSITIVES, NEGATIVES = 50, 75
"""As in Spurious ImageNet."""


def counted(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Counts by score, ascending."""
    scores, place = np.unique(np.concatenate([positives, negatives]), return_inverse=True)
    return (
        np.bincount(place[: positives.size], minlength=scores.size),
        np.bincount(place[positives.size :], minlength=scores.size),
    )


def both(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> tuple[float, float]:
    counts = counted(positives, negatives)
    return float(average_precision_of_counts(*counts)), float(auroc(*counts))


def test_average_precision_is_not_auroc_by_chance_in_ties_and_at_worst() -> None:
    """50 positives against 75 negatives: .421, .400 and .238 of average precision; .5, .5 and 0 of AUROC."""
    generator = np.random.default_rng(0)
    by_chance = [both(generator.random(POSITIVES), generator.random(NEGATIVES)) for _ in range(1000)]
    assert np.mean(by_chance, axis=0) == pytest.approx((0.421, 0.5), abs=0.006)
    assert both(np.ones(POSITIVES), np.ones(NEGATIVES)) == (pytest.approx(0.4), 0.5)
    assert both(np.arange(POSITIVES), np.full(NEGATIVES, POSITIVES)) == (pytest.approx(0.238, abs=5e-4), 0.0)
    assert both(np.ones(POSITIVES), np.zeros(NEGATIVES)) == (1.0, 1.0)


def test_shifted_normal_scores_have_the_known_figures() -> None:
    """N(1, 1) against N(0, 1): average precision .688, AUROC .762 on average (AUROC Phi(1 / sqrt 2) = .760 in law)."""
    generator = np.random.default_rng(1)
    drawn = [both(generator.normal(1, 1, POSITIVES), generator.normal(0, 1, NEGATIVES)) for _ in range(1000)]
    assert np.mean(drawn, axis=0) == pytest.approx((0.688, 0.761), abs=0.006)


def test_counts_give_what_pictures_one_by_one_give() -> None:
    generator = np.random.default_rng(2)
    positives, negatives = generator.integers(0, 9, 40) + 2.0, generator.integers(0, 9, 30) + 0.0
    one_by_one = np.mean([(p > n) + (p == n) / 2 for p in positives for n in negatives])
    truth = np.arange(70) < 40
    expected = average_precision(np.concatenate([positives, negatives]), truth), one_by_one
    assert both(positives, negatives) == pytest.approx(expected)


def test_intervals_cover_the_truth_where_sets_hardly_overlap() -> None:
    """N(3, 1) against N(0, 1), 20 and 30 pictures: many samples do not overlap at all."""
    shift, positives, negatives = 3.0, 20, 30
    generator = np.random.default_rng(3)
    large = counted(generator.normal(shift, 1, 20_000 * positives), generator.normal(0, 1, 20_000 * negatives))
    truth = float(average_precision_of_counts(*large)), float(auroc(*large))
    covered = np.zeros(2)
    repeats = 60
    for _ in range(repeats):
        counts = counted(generator.normal(shift, 1, positives), generator.normal(0, 1, negatives))
        draws = ranking_draws(*counts, generator)
        for i, figure in enumerate((average_precision_of_counts, auroc)):
            low, high = np.quantile(figure(*draws), [0.025, 0.975])
            covered[i] += low <= truth[i] <= high
    assert covered.min() / repeats > 0.83


def test_draws_keep_the_numbers_of_pictures() -> None:
    """Average precision depends on how many positives there are among how many."""
    drawn = ranking_draws([3, 0, 47], [70, 5, 0], np.random.default_rng(0))
    assert [draws.shape for draws in drawn] == [(DRAWS, 5)] * 2
    assert [draws.sum(axis=1).round(6).tolist() for draws in drawn] == [[50.0] * DRAWS, [75.0] * DRAWS]


FIGURES = average_precision_of_counts, auroc


def scored(generator: np.random.Generator, pictures: tuple[int, int], alike: float) -> list[NDArray[np.int64]]:
    """Scores of positives and negatives, [N, 2], in fiftieths: the second classifier tells them better apart."""
    found = []
    for number, shifts in zip(pictures, ((1.0, 1.5), (0.0, 0.0)), strict=True):
        first, other = generator.normal(size=(2, number))
        second = alike * first + np.sqrt(1 - alike**2) * other
        found.append(np.rint(50 * (np.stack([first, second], axis=1) + shifts)).astype(np.int64))
    return found


def paired(scores: list[NDArray[np.int64]]) -> tuple[NDArray, NDArray, NDArray]:
    """All pairs of scores, and how many positives and negatives have each."""
    pairs, place = np.unique(np.concatenate(scores), axis=0, return_inverse=True)
    place, number = place.ravel(), len(scores[0])
    return pairs, *(np.bincount(own, minlength=len(pairs)) for own in (place[:number], place[number:]))


def together(scores: list[NDArray[np.int64]], generator: np.random.Generator) -> list[tuple[NDArray, NDArray]]:
    """All draws of either classifier's positives and negatives."""
    parts = list(paired_ranking_draws(*paired(scores), generator))
    return [tuple(np.concatenate([part[i][j] for part in parts]) for j in (0, 1)) for i in (0, 1)]


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_intervals_of_two_classifiers_on_the_same_pictures_cover_the_difference(alike: float) -> None:
    generator, repeats = np.random.default_rng(4), 80
    large = scored(generator, (400_000, 600_000), alike)
    truth = [float(np.diff([figure(*counted(*(own[:, i] for own in large))) for i in (1, 0)])[0]) for figure in FIGURES]
    covered, widths = np.zeros(2), np.zeros((2, 2))
    for _ in range(repeats):
        sample = scored(generator, (POSITIVES, NEGATIVES), alike)
        drawn = together(sample, generator)
        apart = [ranking_draws(*counted(*(own[:, i] for own in sample)), generator) for i in (0, 1)]
        for i, figure in enumerate(FIGURES):
            for j, draws in enumerate((drawn, apart)):
                low, high = np.quantile(figure(*draws[0]) - figure(*draws[1]), [0.025, 0.975])
                widths[j, i] += high - low
                covered[i] += j == 0 and low <= truth[i] <= high
    assert covered.min() / repeats >= 0.9
    of_pairs, independent = widths
    assert (of_pairs / independent).max() < (0.6 if alike else 1.05)


def test_either_classifier_alone_has_the_draws_it_has_alone() -> None:
    generator = np.random.default_rng(5)
    sample = scored(generator, (POSITIVES, NEGATIVES), 0.5)
    drawn = together(sample, generator)
    for i in (0, 1):
        counts = counted(*(own[:, i] for own in sample))
        alone = ranking_draws(*counts, generator)
        for own, other, number in zip(drawn[i], alone, (POSITIVES, NEGATIVES), strict=True):
            assert own.shape == other.shape
            assert own.sum(axis=1) == pytest.approx(number)
            assert own.mean(axis=0) == pytest.approx(other.mean(axis=0), abs=0.15)
        for figure in FIGURES:
            assert figure(*drawn[i]).std() == pytest.approx(figure(*alone).std(), rel=0.1)


def test_draws_of_many_pictures_come_some_at_a_time() -> None:
    """20,000 pictures with as many pairs of scores would be 600 MiB of draws otherwise."""
    generator = np.random.default_rng(6)
    parts = paired_ranking_draws(*paired(scored(generator, (20_000, 20_000), 0.5)), generator)
    sizes = [[own.shape[0] for pair in part for own in pair] for part in parts]
    assert sum(size[0] for size in sizes) == DRAWS
    assert max(max(size) for size in sizes) < DRAWS / 4
