"""How well a measure orders classifiers, and how well it tells reliant classes from others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean rank; float64 [N]."""
    found = np.asarray(values, dtype=np.float64)
    below = (found[None, :] < found[:, None]).sum(axis=1)
    alike = (found[None, :] == found[:, None]).sum(axis=1)
    return np.asarray(below + (alike + 1) / 2, dtype=np.float64)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation, ties sharing ranks; NaN where one of the two is constant."""
    a, b = ranks(first), ranks(second)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Share of pairs in which the positive scores higher than the negative, ties counting half; NaN without pairs."""
    p, n = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    if not p.size or not n.size:
        return float("nan")
    return float(((p[:, None] > n).sum() + 0.5 * (p[:, None] == n).sum()) / (p.size * n.size))
