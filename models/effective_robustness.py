"""Effective robustness: accuracy without cues beyond what accuracy with cues leads one to expect of a classifier.

Source: Moayeri, Wang, Singla & Feizi, “Spuriosity Rankings” (NeurIPS 2023): over many classifiers, accuracy on the
pictures of lowest spuriosity is fitted linearly by that on those of highest, and a classifier's residual tells it from
others as accurate. The line is fitted to the classifiers at hand and says nothing without naming them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST_CLASSIFIERS = 3
"""A line goes through any two points and leaves nothing."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A least-squares line, lowest = intercept + slope * highest.

    Attributes:
        slope, intercept: float64 [...].
        residuals: float64 [..., M], accuracy of each classifier less the line's, in [-1, 1]; they sum to 0.
    """

    slope: Floats
    intercept: Floats
    residuals: Floats


def effective_robustness(highest: ArrayLike, lowest: ArrayLike) -> Fit:
    """Fit accuracy on the pictures of lowest spuriosity by that on those of highest.

    Args:
        highest: float [..., M], accuracy of M classifiers with cues, in [0, 1].
        lowest: float of the same shape, their accuracy without.

    Returns:
        The line and the effective robustness of each classifier; positive means better than others as accurate.

    Raises:
        ValueError: M is less than 3, or all classifiers of a fit have the same accuracy with cues.
    """
    x, y = np.asarray(highest, dtype=np.float64), np.asarray(lowest, dtype=np.float64)
    if x.shape[-1] < FEWEST_CLASSIFIERS:
        raise ValueError(f"{x.shape[-1]} classifiers are too few for a line, at least {FEWEST_CLASSIFIERS} are needed")
    across, centre = x - x.mean(axis=-1, keepdims=True), y.mean(axis=-1)
    spread = (across**2).sum(axis=-1)
    if (spread <= 1e-12).any():
        raise ValueError("all classifiers are equally accurate with cues, so no line can be fitted")
    slope = (across * y).sum(axis=-1) / spread
    intercept = centre - slope * x.mean(axis=-1)
    return Fit(slope, intercept, y - intercept[..., None] - slope[..., None] * x)
