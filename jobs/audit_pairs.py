"""What remains of two audits of the same pictures: how often outcome patterns meet, by class and feature.

A picture that both audits have is one pair, so a difference between two classifiers is told from the luck of the draw
of pictures, which both shared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from jobs.outcomes import CONDITIONS, Ints, Keys, Outcomes
from jobs.paired_sums import PairedSums, shared
from models.bank import Bank

PATTERNS = 16


class AuditPairs(Keys):
    """Sums over the pairs of tables added so far; their size depends on the bank alone: 2 KiB for each of its keys.

    Attributes:
        evidence: of the log-odds lost from the control to the tested picture, nats, by key.
    """

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank)
        self._patterns = np.zeros(self.number * PATTERNS**2, dtype=np.int64)
        self.evidence = PairedSums(self.number)

    def add(self, first: pa.Table, second: pa.Table) -> None:
        """Add the rows of some pictures; those of a picture that only one of the tables has are left out."""
        for own, other in zip(self.outcomes_of(first), self.outcomes_of(second), strict=True):
            self._accumulate(own, other)

    def outcomes(self, keys: Sequence[int], *conditions: str) -> Ints:
        """Pairs of some keys together by the outcomes of some of `jobs.outcomes.CONDITIONS` in both audits.

        Returns:
            int64 [2] * 2 * len(conditions): the first audit's in the order asked for, then the second's.
        """
        shape = (self.number, *(2,) * 2 * len(CONDITIONS))
        pattern = self._patterns.reshape(shape)[np.array(keys, dtype=np.int64)].sum(axis=0)
        axes = [CONDITIONS.index(condition) for condition in conditions]
        kept: Ints = np.einsum(pattern, range(2 * len(CONDITIONS)), axes + [len(CONDITIONS) + axis for axis in axes])
        return kept

    def pictures(self, keys: Sequence[int]) -> int:
        """Pairs of some keys together."""
        return int(self._patterns.reshape(self.number, -1)[np.array(keys, dtype=np.int64)].sum())

    def _accumulate(self, first: Outcomes, second: Outcomes) -> None:
        codes, others = (found.tested.row * self.number + found.keys for found in (first, second))
        own, other = shared(codes, others)
        keys = first.keys[own]
        pattern = (keys * PATTERNS + first.patterns[own]) * PATTERNS + second.patterns[other]
        found, number = np.unique(pattern, return_counts=True)
        self._patterns[found] += number
        self.evidence.add(keys, first.evidence[own], second.evidence[other])
