"""Which figures an audit reports and how each is read. A new one is a row here and a field in `jobs.findings`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jobs.counts import Counts
from jobs.figures import (
    Estimate,
    Figure,
    difference,
    evidence,
    index,
    less,
    nats,
    percent,
    points,
    relative_core_sensitivity,
    share,
)

Estimator = Callable[[Counts, Sequence[int], np.random.Generator], Estimate]


@dataclass(frozen=True)
class Measure:
    """How one figure comes about.

    Attributes:
        name: its field in `findings.ClassFindings` and `findings.Overall`, or in `findings.FeatureFindings`.
        of: the kind of `Counts` keys it is made of.
        estimate: from the counts of some keys together.
        lead, tail: its reading, around the value; {subject} stands for what the pictures are of.
        show: a value as people read it.
    """

    name: str
    of: Literal["whole", "spurious", "core", "swap", "feature"]
    estimate: Estimator
    lead: str
    tail: str
    show: Callable[[float], str]

    def figure(self, estimate: Estimate, subject: str) -> Figure:
        """The figure for people."""
        return estimate.figure(self.lead, self.tail.replace("{subject}", subject), self.show)


def _accuracy(condition: str) -> Estimator:
    return lambda counts, keys, generator: share(counts.outcomes(keys, condition), generator)


def _difference(first: str, second: str) -> Estimator:
    return lambda counts, keys, generator: difference(counts.outcomes(keys, first, second), generator)


def _evidence(counts: Counts, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
    mean, square = counts.mean(keys, "evidence"), counts.mean(keys, "squared_evidence")
    return evidence(mean, square, counts.pictures(keys), generator)


def _rcs(counts: Counts, keys: Sequence[int], generator: np.random.Generator) -> Estimate:
    return relative_core_sensitivity(counts.outcomes(keys, "outside_core", "tested"), generator)


SPURIOUS_EVIDENCE, CORE_EVIDENCE = "spurious_evidence", "core_evidence"

_RIGHT = "of the pictures {subject} are classified right"

CLASS_MEASURES = (
    Measure(
        "swap_gap",
        "swap",
        _difference("control", "tested"),
        "Spurious features of another class in place of their own cost",
        "of accuracy on the pictures {subject}",
        points,
    ),
    Measure(
        "swap_same_accuracy",
        "swap",
        _accuracy("control"),
        "With the spurious features of another picture of the class,",
        _RIGHT,
        percent,
    ),
    Measure(
        "swap_other_accuracy",
        "swap",
        _accuracy("tested"),
        "With the spurious features of a picture of another class,",
        _RIGHT,
        percent,
    ),
    Measure(
        "swap_evidence",
        "swap",
        _evidence,
        "Spurious features of another class in place of their own take",
        "of evidence on the pictures {subject}",
        nats,
    ),
    Measure("clean_accuracy", "whole", _accuracy("clean"), "Without noise,", _RIGHT, percent),
    Measure("core_accuracy", "spurious", _accuracy("tested"), "With noise on the spurious features,", _RIGHT, percent),
    Measure(
        "spurious_drop",
        "spurious",
        _difference("clean", "tested"),
        "Noise on the spurious features costs",
        "of accuracy on the pictures {subject}",
        points,
    ),
    Measure(
        "spurious_control_accuracy",
        "spurious",
        _accuracy("control"),
        "With the same noise away from the spurious features,",
        _RIGHT,
        percent,
    ),
    Measure(
        "spurious_control_difference",
        "spurious",
        _difference("control", "tested"),
        "Noise on the spurious features costs",
        "more than the same noise elsewhere, on the pictures {subject}",
        points,
    ),
    Measure("spurious_accuracy", "core", _accuracy("tested"), "With noise on the core features,", _RIGHT, percent),
    Measure(
        "core_control_accuracy",
        "core",
        _accuracy("control"),
        "With the same noise away from the core features,",
        _RIGHT,
        percent,
    ),
    Measure(
        "core_control_difference",
        "core",
        _difference("control", "tested"),
        "Noise on the core features costs",
        "more than the same noise elsewhere, on the pictures {subject}",
        points,
    ),
    Measure(
        SPURIOUS_EVIDENCE,
        "spurious",
        _evidence,
        "Noise on the spurious features takes",
        "of evidence more than the same noise elsewhere, on the pictures {subject}",
        nats,
    ),
    Measure(
        CORE_EVIDENCE,
        "core",
        _evidence,
        "Noise on the core features takes",
        "of evidence more than the same noise elsewhere, on the pictures {subject}",
        nats,
    ),
    Measure(
        "rcs",
        "core",
        _rcs,
        "Relative core sensitivity is",
        "on the pictures {subject}, where 1 is reliance on the core alone and −1 on all but the core",
        index,
    ),
)

FEATURE_MEASURES = (
    Measure(
        "sensitivity",
        "feature",
        _difference("clean", "tested"),
        "Noise on this feature costs",
        "of accuracy on the pictures {subject}",
        points,
    ),
    Measure(
        "control_difference",
        "feature",
        _difference("control", "tested"),
        "Noise on this feature costs",
        "more than the same noise elsewhere, on the pictures {subject}",
        points,
    ),
    Measure(
        "evidence",
        "feature",
        _evidence,
        "Noise on this feature takes",
        "of evidence more than the same noise elsewhere, on the pictures {subject}",
        nats,
    ),
)


def evidence_balance(spurious: Estimate, core: Estimate, subject: str) -> Figure:
    """Evidence lost to noise on the spurious features less that lost to noise on the core features."""
    return less(spurious, core).figure(
        "Noise on the spurious features takes",
        f"of evidence more than noise on the core features, each beyond the same noise elsewhere, "
        f"on the pictures {subject}",
        nats,
    )
