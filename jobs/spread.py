"""Outcomes of pictures over a standardised quantity, counted finely: memory does not grow with the pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

REACH, CELL = 6.0, 0.01
"""Values beyond +-REACH standard deviations count as there; values within one CELL of each other count as equal."""

CELLS = int(2 * REACH / CELL) + 1


class Spread:
    """How many pictures have each of K outcomes at each value, such as wrong and right.

    Attributes:
        outcomes: int64 [CELLS, K], pictures by rising value.
    """

    def __init__(self, outcomes: NDArray[np.int64]) -> None:
        self.outcomes = outcomes

    def ends(self, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Outcomes of the pictures of the lowest and of the highest values, int64 [K] each.

        Each end holds at least `share` of all pictures, in (0, 0.5], and all those whose value equals that of its last
        one; so neither order nor chance decides. None where the two ends would have pictures in common.
        """
        pictures = self.outcomes.sum(axis=1)
        wanted = share * pictures.sum()
        if not wanted:
            return None
        last_low = int(np.searchsorted(pictures.cumsum(), wanted))
        first_high = CELLS - 1 - int(np.searchsorted(pictures[::-1].cumsum(), wanted))
        if last_low >= first_high:
            return None
        low, high = self.outcomes[: last_low + 1].sum(axis=0), self.outcomes[first_high:].sum(axis=0)
        return low, high

    def bins(self, count: int) -> NDArray[np.int64]:
        """Outcomes in `count` bins of about as many pictures each, by rising value; equal values share a bin.

        Returns:
            int64 [count, K]; bins may be empty where many values are equal.
        """
        pictures = self.outcomes.sum(axis=1)
        middle = pictures.cumsum() - pictures / 2
        place = np.minimum(count - 1, (count * middle / max(1, pictures.sum())).astype(np.int64))
        found = np.zeros((count, self.outcomes.shape[1]), dtype=np.int64)
        np.add.at(found, place, self.outcomes)
        return found


class Spreads:
    """The same of G groups, e.g. classes. A cell holds up to 2^31 pictures."""

    def __init__(self, groups: int, outcomes: int = 2) -> None:
        self._outcomes: NDArray[np.int32] = np.zeros((groups, CELLS, outcomes), dtype=np.int32)

    def add(self, groups: ArrayLike, values: ArrayLike, outcomes: ArrayLike) -> None:
        """Count N pictures: int [N], float [N] in standard deviations, int [N] below K."""
        cell = np.rint((np.clip(values, -REACH, REACH) + REACH) / CELL).astype(np.int64)
        number = self._outcomes.shape[2]
        codes = number * (np.asarray(groups, dtype=np.int64) * CELLS + cell) + np.asarray(outcomes, dtype=np.int64)
        np.add.at(self._outcomes.reshape(-1), codes, 1)

    def of(self, group: int) -> Spread:
        """Those of one group."""
        return Spread(self._outcomes[group].astype(np.int64))
