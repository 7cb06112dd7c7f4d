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
    of: Literal["whole", "spurious", "core", "feature"]
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


def with_cues(counts: Counts, class_indices: Sequence[int], generator: np.random.Generator) -> Estimate:
    """Clean log-odds on the pictures of some classes that clearly show spurious features of their class."""
    keys = [counts.spurious(c) for c in class_indices]
    mean, square = counts.mean(keys, "log_odds"), counts.mean(keys, "squared_log_odds")
    return evidence(mean, square, counts.pictures(keys), generator)


def without_cues(counts: Counts, class_indices: Sequence[int], generator: np.random.Generator) -> Estimate:
    """Clean log-odds on all other pictures of some classes."""
    shown, all_of = [counts.spurious(c) for c in class_indices], [counts.whole(c) for c in class_indices]
    n = counts.pictures(all_of) - counts.pictures(shown)
    if n == 0:
        return evidence(0.0, 0.0, 0, generator)
    mean, square = (
        (counts.total(all_of, quantity) - counts.total(shown, quantity)) / n
        for quantity in ("log_odds", "squared_log_odds")
    )
    return evidence(mean, square, n, generator)


def reliance(gap: Estimate, subject: str) -> Figure:
    """The headline: how much surer the classifier is where the spurious features of the class show clearly.

    A natural-image figure in the manner of the spurious gap (Spuriosity Rankings, NeurIPS 2023), in log-odds. Of the
    measures tried it is the one that orders classifiers of known reliance (`docs/audit.md`).

    Args:
        gap: `with_cues` less `without_cues`.
        subject: what the pictures are of.
    """
    return gap.figure(
        "Where a picture clearly shows spurious features of its class, the classifier is surer of the class by",
        f"than on the other pictures {subject}",
        nats,
    )
