"""Counts of paired outcomes: how often a changed picture and its control are classified right, by class and part.

A picture may be changed in the same way several times, with other noise: its repeats make one outcome, the number of
times it was right, so that n is always a number of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.figures import Estimate, evidence, share
from models.statistics import (
    expected_pairs,
    more_often_right,
    paired_difference,
    paired_rcs,
    repeated_draws,
    spanned,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


READS = ("row", "class", "variant", "part", "correct", "log_odds", "energy")
"""What of a shard's table `Rows` reads."""


def repeat_of(part: str, repeat: int, repeats: int) -> str:
    """The value of the rows' column `part` for one of several repeats."""
    return part if repeats == 1 else f"{part}/{repeat}"


class Rows:
    """The rows of one variant, in the order of picture, part and repeat, each once.

    Attributes:
        row: int64 [M], the picture.
        class_index: int64 [M], its class in the bank.
        part: int64 [M], place among the parts.
        correct, log_odds, energy: float64 [M, D], of its D repeats.
    """

    def __init__(self, table: pa.Table, variant: str, parts: Sequence[str] = ("",), repeats: int = 1) -> None:
        """Take them from a shard's table.

        Args:
            parts: values of the rows' column `part`, "" for null; with several repeats as `repeat_of` names them.
        """
        names = [repeat_of(part, repeat, repeats) for part in parts for repeat in range(repeats)]
        own = table.filter(pc.equal(table["variant"], variant))
        code = pc.index_in(pc.fill_null(own["part"], ""), value_set=pa.array(names)).to_numpy().astype(np.int64)
        row = own["row"].to_numpy()
        order = np.lexsort((code, row)).reshape(-1, repeats)

        def real(name: str) -> Floats:
            values: Floats = own[name].cast(pa.float64()).to_numpy()[order]
            return values

        first = order[:, 0]
        self.row: Ints = row[first]
        self.class_index: Ints = own["class"].to_numpy()[first].astype(np.int64)
        self.part: Ints = code[first] // repeats
        self.correct = real("correct")
        self.log_odds = real("log_odds")
        self.energy = real("energy")


class Pairs:
    """Outcomes of a first condition (a control) and a second (what is tested) on the same pictures."""

    def __init__(self, classes: int, parts: Sequence[str] = ("",), repeats: int = 1) -> None:
        """Nothing is counted yet.

        Args:
            classes: of the bank.
            parts: ways in which pictures were changed.
            repeats: of each picture.
        """
        self._parts = list(parts)
        self._repeats = repeats
        self._counts = np.zeros((classes, len(parts), repeats + 1, repeats + 1), dtype=np.int64)
        self._evidence = np.zeros((2, classes, len(parts)))

    def add(self, first: Rows, second: Rows, kept: NDArray[np.bool_] | None = None) -> None:
        """Count pairs of rows of the same pictures and parts, all or only those that are kept."""
        at = np.arange(first.row.size) if kept is None else np.flatnonzero(kept)
        classes, parts, side, _ = self._counts.shape
        key = first.class_index[at] * parts + first.part[at]
        right = [own.correct[at].sum(axis=1).astype(np.int64) for own in (first, second)]
        cell = (key * side + right[0]) * side + right[1]
        self._counts += np.bincount(cell, minlength=self._counts.size).reshape(self._counts.shape)
        lost = (first.log_odds - second.log_odds)[at].mean(axis=1)
        for sums, values in zip(self._evidence, (lost, lost**2), strict=True):
            sums += np.bincount(key, weights=values, minlength=classes * parts).reshape(classes, parts)

    def counts(self, class_index: int, part: str) -> Ints:
        """int64 [D + 1, D + 1]: pictures by how many of D repeats were right in the first and in the second."""
        found: Ints = self._counts[class_index, self._parts.index(part)]
        return found

    def accuracy_of_first(self, class_index: int, part: str, generator: np.random.Generator) -> Estimate:
        """Share right in the first condition, over all repeats."""
        return self._share(self.counts(class_index, part).sum(axis=1), generator)

    def accuracy_of_second(self, class_index: int, part: str, generator: np.random.Generator) -> Estimate:
        """Share right in the second condition, over all repeats."""
        return self._share(self.counts(class_index, part).sum(axis=0), generator)

    def difference(self, class_index: int, part: str, generator: np.random.Generator) -> Estimate:
        """Accuracy of the first less that of the second."""
        return self._paired(class_index, part, paired_difference, generator)

    def rcs(self, class_index: int, part: str, generator: np.random.Generator) -> Estimate:
        """Relative core sensitivity, where the first is noise outside the core and the second noise on it."""
        return self._paired(class_index, part, paired_rcs, generator)

    def evidence(self, class_index: int, part: str, generator: np.random.Generator) -> Estimate:
        """Log-odds in the first less those in the second, in nats; of each picture the mean over its repeats."""
        n = int(self.counts(class_index, part).sum())
        total, squares = self._evidence[:, class_index, self._parts.index(part)]
        return evidence(total / max(n, 1), squares / max(n, 1), n, generator)

    def p_value(self, class_index: int, part: str) -> float:
        """One-sided, that more pictures are right more often in the first than the other way round (sign test)."""
        counts = self.counts(class_index, part)
        wins, losses = int(np.tril(counts, -1).sum()), int(np.triu(counts, 1).sum())
        return more_often_right([[0, losses], [wins, 0]])

    def _paired(
        self, class_index: int, part: str, statistic: Callable[[Floats], Floats], generator: np.random.Generator
    ) -> Estimate:
        counts = self.counts(class_index, part)
        n = int(counts.sum())
        draws = statistic(expected_pairs(repeated_draws(counts, generator)))
        value = float(statistic(expected_pairs(counts))) if n else 0.0
        return Estimate(value, spanned(value, draws), n, draws, lowest=-1)

    def _share(self, outcomes: Ints, generator: np.random.Generator) -> Estimate:
        """From int64 [D + 1], pictures by how many of D repeats were right."""
        if self._repeats == 1:
            return share(outcomes, generator)
        right = np.linspace(0, 1, self._repeats + 1)
        n = int(outcomes.sum())
        value = float(outcomes @ right) / n if n else 0.0
        draws = repeated_draws(outcomes, generator) @ right
        return Estimate(value, spanned(value, draws), n, draws, lowest=0)
