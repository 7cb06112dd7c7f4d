"""How well a measure orders classifiers, and how well it tells reliant classes from others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.statistics import DRAWS, Interval


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1 along the last axis, ties sharing their mean rank; float64 [..., N]."""
    found = np.asarray(values, dtype=np.float64)
    below = (found[..., None, :] < found[..., :, None]).sum(axis=-1)
    alike = (found[..., None, :] == found[..., :, None]).sum(axis=-1)
    return np.asarray(below + (alike + 1) / 2, dtype=np.float64)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation, ties sharing ranks; NaN where one of the two is constant or there is no pair."""
    if not len(first):
        return float("nan")
    return float(_correlation(ranks(first), ranks(second)))


def spearman_interval(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """95 % interval of Spearman's correlation: bootstrap over the N pairs; None where it is NaN.

    The pairs count as drawn at random, which a panel made on purpose is not: it says how much hangs on single ones.
    """
    if np.isnan(spearman(first, second)):
        return None
    drawn = np.random.default_rng(0).integers(len(first), size=(DRAWS, len(first)))
    own = _correlation(*(ranks(np.asarray(values, dtype=np.float64)[drawn]) for values in (first, second)))
    low, high = np.nanpercentile(own, (2.5, 97.5)).tolist()
    return Interval(low, high)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation along the last axis, [..., N] twice -> [...]."""
    a, b = (own - own.mean(axis=-1, keepdims=True) for own in (a, b))
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    known = np.where(scale > 0, scale, np.nan)
    return np.asarray((a * b).sum(axis=-1) / known, dtype=np.float64)


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Share of pairs in which the positive scores higher than the negative, ties counting half; NaN without pairs."""
    p, n = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    if not p.size or not n.size:
        return float("nan")
    return float(((p[:, None] > n).sum() + 0.5 * (p[:, None] == n).sum()) / (p.size * n.size))
