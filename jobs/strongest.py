"""The pictures on which every feature of a class is strongest: bounded, mergeable, the same in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

NOBODY = -1


@dataclass(frozen=True)
class Strongest:
    """The E strongest pictures of each of D features, best first; equal ones by row.

    Attributes:
        values: float32 [D, E], -inf where there are fewer pictures.
        rows: int64 [D, E], rows in the index of the data set, `NOBODY` there.
    """

    values: NDArray[np.float32]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, phi: NDArray[np.float32], rows: NDArray[np.int64], count: int) -> Self:
        """Of pictures with features float32 [N, D] and rows int64 [N] that ascend."""
        best = np.argsort(-phi, axis=0, kind="stable")[:count].T
        values = np.take_along_axis(phi.T, best, axis=1)
        padding = ((0, 0), (0, count - best.shape[1]))
        return cls(
            np.pad(values, padding, constant_values=-np.inf),
            np.pad(rows[best], padding, constant_values=NOBODY),
        )

    def merge(self, other: Strongest) -> Strongest:
        """The strongest of both, whose pictures differ."""
        values = np.concatenate([self.values, other.values], axis=1)
        rows = np.concatenate([self.rows, other.rows], axis=1)
        count = self.values.shape[1]
        best = np.lexsort((rows, -values), axis=1)[:, :count]
        return Strongest(np.take_along_axis(values, best, axis=1), np.take_along_axis(rows, best, axis=1))

    def of_feature(self, feature: int) -> list[tuple[int, float]]:
        """(row, activation) of one feature, best first."""
        known = self.rows[feature] != NOBODY
        return list(zip(self.rows[feature][known].tolist(), self.values[feature][known].tolist(), strict=True))
