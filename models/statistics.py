"""Figures from counts: proportions, paired differences, relative core sensitivity, and their 95 % intervals.

Outcomes here are binary and paired: the same picture is classified clean, with noise on a mask and with the same noise
on a control, and each time the answer is right or wrong. So every figure is a function of a 2 x 2 table of counts

    [[both wrong, only the second right], [only the first right, both right]]

whose size does not depend on the number of pictures. Intervals of paired figures come from the smoothed (Bayesian)
bootstrap of such a table: weights drawn from Dirichlet(counts + 1/2). The plain multinomial bootstrap claims an
interval of width zero whenever all pictures agree, and covers the truth in 74 to 92 % of samples of 10 to 50 where few
disagree; with the half added it covers it in 93 to 98 % (`tests/models/test_statistics.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

NORMAL_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""

DRAWS = 2000
"""Bootstrap draws per figure: the ends of a 95 % interval are then good to about 3 % of its width."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, in the unit of its figure; `low <= value <= high` always holds."""

    low: float
    high: float


def average_precision(scores: ArrayLike, positives: ArrayLike) -> float:
    """Area under the precision-recall curve as a step function; equal scores count as one threshold.

    Args:
        scores: float, any shape, e.g. a soft mask; higher means more surely positive.
        positives: bool of the same shape, e.g. the exact mask.

    Returns:
        In [0, 1]; the share of positives where all scores are equal. NaN where nothing is positive.
    """
    score = np.asarray(scores, dtype=np.float64).ravel()
    truth = np.asarray(positives, dtype=bool).ravel()
    total = int(truth.sum())
    if total == 0:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)
    hits = np.cumsum(truth[order])[last_of_ties]
    precision = hits / (last_of_ties + 1)
    recall_gain = np.diff(hits, prepend=0) / total
    return float(precision @ recall_gain)


def wilson(successes: float, n: int, quantile: float = NORMAL_95) -> Interval:
    """Score interval of a proportion (Wilson, 1927), by default 95 %; [0, 1] for n = 0.

    Args:
        successes: of `n`.
        n: pictures.
        quantile: of the standard normal distribution: how many standard errors the ends are away.
    """
    if n == 0:
        return Interval(0.0, 1.0)
    share, z2 = successes / n, quantile**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = quantile / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def rcs(first: ArrayLike, second: ArrayLike) -> Floats:
    """Relative core sensitivity (a1 - a2) / (2 min(abar, 1 - abar)), abar = (a1 + a2) / 2; 0 at abar in {0, 1}.

    Source: Singla, Moayeri & Feizi, CoRM (arXiv 2203.15566); called RFS in RIVAL10 (CVPR 2022).

    Args:
        first: accuracy with noise outside the core, in [0, 1].
        second: accuracy with noise on the core, in [0, 1], of the same shape.

    Returns:
        float64 in [-1, 1]: 1 relies on the core alone, -1 on everything but the core.
    """
    a1, a2 = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    mean = (a1 + a2) / 2
    room = 2 * np.minimum(mean, 1 - mean)
    return np.divide(a1 - a2, room, out=np.zeros_like(room), where=room > 0)


def paired_difference(table: Floats) -> Floats:
    """Share right in the first condition minus share right in the second; [..., 2, 2] -> [...], in [-1, 1]."""
    return (table[..., 1, 0] - table[..., 0, 1]) / table.sum(axis=(-2, -1))


def paired_rcs(table: Floats) -> Floats:
    """`rcs` of a table whose first condition is noise outside the core and second noise on it; [..., 2, 2] -> [...]."""
    n = table.sum(axis=(-2, -1))
    return rcs(table[..., 1, :].sum(axis=-1) / n, table[..., :, 1].sum(axis=-1) / n)


def smoothed_draws(counts: ArrayLike, generator: np.random.Generator, added: float = 0.5) -> Floats:
    """Draws of the shares behind some counts: Dirichlet(counts + 1/2).

    Args:
        counts: of any shape, >= 0.
        generator: of the draws.
        added: to each count, in place of 1/2.

    Returns:
        float64 [DRAWS, *counts.shape], each draw summing to 1.
    """
    weights = np.asarray(counts, dtype=np.float64) + added
    draws = generator.standard_gamma(weights, size=(DRAWS, *weights.shape))
    return draws / draws.sum(axis=tuple(range(1, draws.ndim)), keepdims=True)


def expected_pairs(table: ArrayLike) -> Floats:
    """Paired outcomes of several repeats as those of one: the table of a repeat drawn at random.

    Args:
        table: counts or weights [..., D + 1, D + 1] of pictures by how many of D repeats were right in the first and in
            the second condition.

    Returns:
        float64 [..., 2, 2], whose `paired_difference` and `paired_rcs` are means over the repeats.
    """
    counts = np.asarray(table, dtype=np.float64)
    right = np.linspace(0, 1, counts.shape[-1])
    ends = np.stack([1 - right, right])
    result: Floats = np.einsum("ai,bj,...ij->...ab", ends, ends, counts)
    return result


def repeated_draws(table: ArrayLike, generator: np.random.Generator) -> Floats:
    """`smoothed_draws` of pictures with several repeats: the halves are added to the corners alone.

    Args:
        table: counts [D + 1] or [D + 1, D + 1] of pictures by how many of D repeats were right.

    Returns:
        float64 [DRAWS, *table.shape], each draw summing to 1; for D = 1 drawn as `smoothed_draws` does.
    """
    weights = np.array(table, dtype=np.float64)
    weights[np.ix_(*[[0, -1]] * weights.ndim)] += 0.5
    draws = generator.standard_gamma(weights, size=(DRAWS, *weights.shape))
    return draws / draws.sum(axis=tuple(range(1, draws.ndim)), keepdims=True)


def spanned(value: float, draws: Floats) -> Interval:
    """The middle 95 % of some draws [DRAWS], widened where needed to hold the plain estimate."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(min(value, float(low)), max(value, float(high)))


def independent_difference(first: float, of_first: Interval, second: float, of_second: Interval) -> Interval:
    """95 % interval of the difference of two figures of independent samples, from theirs.

    The method of variance estimates recovery (Zou & Donner, 2008); with Wilson's intervals of proportions it is
    Newcombe's tenth method (1998).

    Args:
        first, second: the figures; the difference is the first less the second.
        of_first, of_second: their intervals.
    """
    value = first - second
    below = hypot(first - of_first.low, of_second.high - second)
    above = hypot(of_first.high - first, second - of_second.low)
    return Interval(value - below, value + above)


def mean_of_classes(values: Sequence[float], draws: Sequence[Floats], lowest: float) -> tuple[float, Interval, Floats]:
    """The unweighted mean of per-class figures, bootstrapped within each class.

    Each class's draws are centred on its plain estimate first: the half counts pull every class a little towards the
    middle, which no number of classes would average out.

    Args:
        values: the classes' figures, at least one.
        draws: per class, float64 [DRAWS].
        lowest: of the figure's range, 0 or -1, whose highest is 1; -inf for figures without bounds.

    Returns:
        The mean, its interval, and the draws [DRAWS] it comes from.
    """
    value = float(np.mean(values))
    spread = np.zeros(DRAWS)
    for own in draws:
        spread += own - own.mean()
    together = value + spread / len(values)
    interval = spanned(value, together)
    highest = 1.0 if np.isfinite(lowest) else np.inf
    return value, Interval(max(lowest, interval.low), min(highest, interval.high)), together


def more_often_right(table: ArrayLike) -> float:
    """One-sided exact p-value of McNemar's test (1947) that the first condition is right more often than the second.

    Only pictures on which the two differ count: under the null hypothesis each is a fair coin.

    Args:
        table: integer counts [2, 2].

    Returns:
        In (0, 1]; 1 where no picture differs.
    """
    counts = np.asarray(table)
    wins, losses = int(counts[1, 0]), int(counts[0, 1])
    n = wins + losses
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(wins, n + 1)
    log_terms = log_factorial[n] - log_factorial[k] - log_factorial[n - k] - n * np.log(2)
    return float(min(1.0, np.exp(log_terms).sum()))


def more_often_right_apart(first: ArrayLike, second: ArrayLike) -> float:
    """One-sided p-value of Fisher's exact test (1935) that the first pictures are right more often than the second.

    Args:
        first, second: integer counts [2] of different pictures: wrong, right.

    Returns:
        In (0, 1]; 1 where one of the two has no picture.
    """
    (wrong, right), (other_wrong, other_right) = (np.asarray(own).tolist() for own in (first, second))
    n, other, hits = wrong + right, other_wrong + other_right, right + other_right
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + other + 1)))])

    def log_choose(total: int, taken: NDArray[np.int64]) -> Floats:
        return log_factorial[total] - log_factorial[taken] - log_factorial[total - taken]

    k = np.arange(right, min(n, hits) + 1)
    log_terms = log_choose(n, k) + log_choose(other, hits - k) - log_choose(n + other, np.array(hits))
    return float(min(1.0, np.exp(log_terms).sum()))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for testing them all, controlling the false discovery rate (Benjamini & Hochberg, 1995)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
    ranks = np.arange(p.size, 0, -1)
    adjusted = np.minimum(1.0, np.minimum.accumulate(p[order] * p.size / ranks))
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return [float(value) for value in result]
