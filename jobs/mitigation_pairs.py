"""Outcomes of the same pictures before and after a change of the classifier, as counts per class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs import rows
from jobs.figures import Estimate, difference, evidence

CLEAN, OTHER, GAP = "clean_accuracy", "swap_other_accuracy", "swap_gap"
CONDITIONS = {CLEAN: rows.CLEAN, OTHER: rows.SWAP_OTHER}
VARIANTS = (rows.CLEAN, rows.SWAP_SAME, rows.SWAP_OTHER)


class Pairs:
    """Sums over the tables added so far, whose size depends on the number of classes alone."""

    def __init__(self, classes: int) -> None:
        self._tables = {name: np.zeros((classes, 2, 2), np.int64) for name in CONDITIONS}
        self._gaps = np.zeros((classes, 3))  # pictures, sum and sum of squares of what the gap has lost

    def add(self, before: pa.Table, after: pa.Table) -> None:
        """Two tables of the same shard.

        Raises:
            ValueError: they are not of the same pictures.
        """
        first, second = _outcomes(before), _outcomes(after)
        for variant in VARIANTS:
            if not np.array_equal(first[variant][0], second[variant][0]):
                raise ValueError(f"the rows {variant} of both audits are of different pictures")
        for name, variant in CONDITIONS.items():
            _, classes, was = first[variant]
            np.add.at(self._tables[name], (classes, was, second[variant][2]), 1)
        _, classes, same = first[rows.SWAP_SAME]
        lost = [same - first[rows.SWAP_OTHER][2], second[rows.SWAP_SAME][2] - second[rows.SWAP_OTHER][2]]
        change = (lost[0] - lost[1]).astype(np.float64)
        np.add.at(self._gaps, classes, np.stack([np.ones_like(change), change, change**2], axis=1))

    def estimates(self, class_index: int, seed: int) -> dict[str, Estimate]:
        """Before less after of one class, by the name of the figure."""
        seeds = {name: np.random.default_rng([seed, class_index, k]) for k, name in enumerate((*CONDITIONS, GAP))}
        found = {name: difference(self._tables[name][class_index], seeds[name]) for name in CONDITIONS}
        n, first, second = self._gaps[class_index]
        found[GAP] = evidence(first / max(n, 1), second / max(n, 1), int(n), seeds[GAP])
        return found

    def pictures(self, classes: Iterable[int]) -> int:
        """Audited pictures of some classes."""
        return int(sum(self._tables[CLEAN][index].sum() for index in classes))


def _outcomes(table: pa.Table) -> Mapping[str, Sequence[NDArray[np.int64]]]:
    """By variant: rows ascending, their class index, and whether each is right (0 or 1)."""
    found = {}
    for variant in VARIANTS:
        part = table.filter(pc.equal(table["variant"], variant))
        row = part["row"].to_numpy()
        order = np.argsort(row, kind="stable")
        right = part["correct"].to_numpy(zero_copy_only=False).astype(np.int64)
        found[variant] = row[order], part["class"].to_numpy().astype(np.int64)[order], right[order]
    return found
