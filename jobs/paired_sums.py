"""Sums of what two classifiers made of the same pictures, from which the change of a mean is told.

The change of a mean is the mean of its changes picture by picture, with the normal interval of its standard error. As
pictures that all agree would make that 0 wide, squares are added to those of the changes before it is reckoned. Of
right and wrong answers those of two pictures on which both classifiers answer as coins fall: for accuracies what
Agresti & Min (2005) add to the paired table, which covers the truth in 94 % and more of samples of 20 pictures and up
(`tests/jobs/test_paired_sums.py`). Of amounts, such as log-odds, those of one picture on which the classifiers agree no
more than two of their pictures drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from jobs.figures import Estimate
from models.statistics import DRAWS, NORMAL_95, Interval

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def shared(first: Ints, second: Ints) -> tuple[Ints, Ints]:
    """Where what both have stands in each, in ascending order; neither has anything twice."""
    _, own, other = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    return own, other


class PairedSums:
    """Of some keys, such as classes: 56 bytes for each, however many pictures there are."""

    def __init__(self, keys: int) -> None:
        self.keys = keys
        self._sums = np.zeros((7, keys))

    def add(self, keys: Ints, first: Floats, second: Floats) -> None:
        """Take in N pictures: int64 [N], and the values that they have in the first and in the second audit."""
        change = first - second
        terms = (np.ones(keys.size), change, change**2, first, first**2, second, second**2)
        for sums, values in zip(self._sums, terms, strict=True):
            sums += np.bincount(keys, weights=values, minlength=self.keys)

    def pictures(self, key: int) -> int:
        """That a key has."""
        return int(self._sums[0, key])

    def change(self, keys: Sequence[int], answers: int, generator: np.random.Generator) -> Estimate:
        """The mean in the first audit less that in the second, over the pictures of some keys together.

        Args:
            answers: how many right or wrong answers a value is made of: 1 for accuracies, which lie in [0, 1], 2 for
                differences of two, in [-1, 1]; 0 for amounts.
            generator: of the draws.
        """
        n, total, squares, first, first_squares, second, second_squares = self._sums[:, list(keys)].sum(axis=1)
        if n < 2:
            return Estimate(0.0, Interval(0.0, 0.0), int(n), np.zeros(DRAWS), lowest=-np.inf)
        value = float(total / n)
        added = answers or (first_squares - first**2 / n + second_squares - second**2 / n) / n
        error = sqrt(max(0.0, squares - n * value**2 + added) / (n * (n - 1)))
        reach = answers or np.inf
        interval = Interval(max(-reach, value - NORMAL_95 * error), min(reach, value + NORMAL_95 * error))
        return Estimate(value, interval, int(n), generator.normal(value, error, DRAWS), lowest=-np.inf)
