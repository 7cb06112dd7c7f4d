"""How a figure comes about from the outcomes of one audit, and its change from those of two on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jobs.audit_pairs import AuditPairs
from jobs.counts import Counts
from jobs.figures import Estimate, change, difference, evidence, relative_core_sensitivity, share
from models.statistics import paired_difference, paired_rcs


class Estimator(Protocol):
    """A figure of some keys together."""

    def estimate(self, counts: Counts, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        """The figure in one audit."""

    def change(self, pairs: AuditPairs, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        """The figure in the first audit less that in the second, over the pictures that both have."""


@dataclass(frozen=True)
class Accuracy:
    """The share of pictures classified right under one of `jobs.outcomes.CONDITIONS`."""

    condition: str

    def estimate(self, counts: Counts, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        return share(counts.outcomes(keys, self.condition), generator)

    def change(self, pairs: AuditPairs, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        return difference(pairs.outcomes(keys, self.condition), generator)


@dataclass(frozen=True)
class AccuracyDifference:
    """Accuracy under the first condition less that under the second."""

    first: str
    second: str

    def estimate(self, counts: Counts, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        return difference(counts.outcomes(keys, self.first, self.second), generator)

    def change(self, pairs: AuditPairs, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        return change(pairs.outcomes(keys, self.first, self.second), paired_difference, generator)


@dataclass(frozen=True)
class Evidence:
    """The mean log-odds lost from the control to the tested picture."""

    def estimate(self, counts: Counts, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        mean, square = counts.mean(keys, "evidence"), counts.mean(keys, "squared_evidence")
        return evidence(mean, square, counts.pictures(keys), generator)

    def change(self, pairs: AuditPairs, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        return pairs.evidence.change(keys, np.inf, generator)


@dataclass(frozen=True)
class CoreSensitivity:
    """RCS from the outcomes under noise outside the core and under noise on it."""

    def estimate(self, counts: Counts, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        return relative_core_sensitivity(counts.outcomes(keys, "outside_core", "tested"), generator)

    def change(self, pairs: AuditPairs, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
        return change(pairs.outcomes(keys, "outside_core", "tested"), paired_rcs, generator)
