"""How well a score ranks positives above negatives: AUROC and average precision, two figures that are not one another.

Both are computed from counts of equal scores, so that a bootstrap of thousands of draws is one tensor operation and
memory does not grow with the pictures. The code released with Spurious ImageNet (Neuhaus et al., ICCV 2023) reports
`average_precision_score` under the name AUC; its chance level depends on how many positives there are among how many
(0.42 for 50 of 125), that of AUROC is 0.5 always.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.statistics import DRAWS

Floats = NDArray[np.float64]

ROOM = 1 << 22
"""Most values drawn at a time of pairs of scores: 32 MiB."""


def auroc(positives: ArrayLike, negatives: ArrayLike) -> Floats:
    """P(score of a positive > score of a negative) + P(equal) / 2.

    Args:
        positives, negatives: counts or weights [..., B] of pictures with each of B scores, ascending; both have some.

    Returns:
        float64 [...] in [0, 1], 0.5 by chance.
    """
    p, n = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    below = np.cumsum(n, axis=-1) - n / 2
    won: Floats = (p * below).sum(axis=-1) / (p.sum(axis=-1) * n.sum(axis=-1))
    return won


def average_precision_of_counts(positives: ArrayLike, negatives: ArrayLike) -> Floats:
    """Area under the precision-recall curve as a step function; equal scores count as one threshold.

    Args and returns: as `auroc`; the share of positives where all scores are equal, about that by chance.
    """
    p, n = np.asarray(positives, dtype=np.float64)[..., ::-1], np.asarray(negatives, dtype=np.float64)[..., ::-1]
    hits = np.cumsum(p, axis=-1)
    above = hits + np.cumsum(n, axis=-1)
    precision = np.divide(hits, above, out=np.zeros_like(hits), where=above > 0)
    area: Floats = (precision * p).sum(axis=-1) / hits[..., -1]
    return area


def ranking_draws(positives: ArrayLike, negatives: ArrayLike, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Bootstrap draws of the pictures behind some counts, positives and negatives apart.

    Like `models.statistics.smoothed_draws`: half a picture is added at either end of the scores to both, so that sets
    which do not overlap in a small sample do not get an interval of width zero.

    Args:
        positives, negatives: counts [B] by score, ascending.

    Returns:
        float64 [DRAWS, B + 2] twice, each draw summing to the number of pictures.
    """
    return _drawn([0.5, *np.asarray(positives), 0.5], generator), _drawn([0.5, *np.asarray(negatives), 0.5], generator)


def paired_ranking_draws(
    scores: ArrayLike, positives: ArrayLike, negatives: ArrayLike, generator: np.random.Generator
) -> Iterator[list[tuple[Floats, Floats]]]:
    """The same of pictures that two classifiers score: a draw has the same pictures for both.

    At each of the four joint ends of the scores a quarter of a picture is added, so that either classifier has the half
    at either end that it has alone. Draws come some at a time, as pairs of scores may be as many as pictures.

    Args:
        scores: int [B, 2], all pairs of scores that there are, those of either classifier by rank or in any unit.
        positives, negatives: counts [B] of pictures with each pair.

    Yields:
        Of either classifier, what `ranking_draws` gives, of the next of the DRAWS draws; B + 2 is the number of its own
        scores and two.
    """
    pairs = np.asarray(scores, dtype=np.int64)
    ends = np.stack([pairs.min(axis=0) - 1, pairs.max(axis=0) + 1])
    corners = np.stack([ends[[0, 0, 1, 1], 0], ends[[0, 1, 0, 1], 1]], axis=1)
    weights = [[*np.asarray(counts), *[0.25] * len(corners)] for counts in (positives, negatives)]
    orders = []
    for own in np.concatenate([pairs, corners]).T:
        order = np.argsort(own, kind="stable")
        orders.append((order, np.unique(own[order], return_index=True)[1]))
    together = max(1, ROOM // len(weights[0]))
    for start in range(0, DRAWS, together):
        drawn = [_drawn(own, generator, min(together, DRAWS - start)) for own in weights]
        found = []
        for order, starts in orders:
            of_positives, of_negatives = (np.add.reduceat(draws[:, order], starts, axis=1) for draws in drawn)
            found.append((of_positives, of_negatives))
        yield found


def _drawn(weights: Sequence[float], generator: np.random.Generator, number: int = DRAWS) -> Floats:
    """Of counts to which one picture was added in all; each draw sums to the number of pictures."""
    draws = generator.standard_gamma(weights, size=(number, len(weights)))
    scaled: Floats = draws * ((sum(weights) - 1) / draws.sum(axis=1, keepdims=True))
    return scaled
