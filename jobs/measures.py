"""Which figures an audit reports and how each is read. A new one is a row here and a field in `jobs.findings`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jobs.estimators import Accuracy, AccuracyDifference, CoreSensitivity, Estimator, Evidence
from jobs.figures import Estimate, Figure, generator_of, index, less, nats, percent, points
from jobs.sections import Unit, Worse


@dataclass(frozen=True)
class Measure:
    """How one figure comes about.

    Attributes:
        name: its field in `findings.ClassFindings` and `findings.Overall`, or in `findings.FeatureFindings`.
        of: the kind of `Counts` keys it is made of.
        estimator: how, from the outcomes of some keys together.
        lead, tail: its reading, around the value; {subject} stands for what the pictures are of.
        show: a value as people read it.
        worse: which direction speaks for reliance on spurious features.
    """

    name: str
    of: Literal["whole", "spurious", "core", "swap", "pull", "feature"]
    estimator: Estimator
    lead: str
    tail: str
    show: Callable[[float], str]
    worse: Worse

    @property
    def unit(self) -> Unit:
        """Of its values."""
        return _UNITS[self.show]

    def generator(self, seed: int, keys: Sequence[int]) -> np.random.Generator:
        """Every figure has draws of its own, whatever else is reported beside it."""
        return generator_of(seed, self.name, len(keys), *keys[:1])

    def figure(self, estimate: Estimate, subject: str, worse: Worse | None = None) -> Figure:
        """The figure for people.

        Args:
            estimate: what it is.
            subject: what the pictures are of.
            worse: where the direction depends on what is measured, as on the label of a feature.
        """
        direction = worse or self.worse
        said = "neither direction" if direction == "neither" else direction
        return estimate.figure(self.lead, f"{self.tail.replace('{subject}', subject)}; {said} is worse", self.show)


SPURIOUS_EVIDENCE, CORE_EVIDENCE = "spurious_evidence", "core_evidence"

_UNITS: dict[Callable[[float], str], Unit] = {percent: "share", points: "points", nats: "nats", index: "index"}
_RIGHT = "of the pictures {subject} are classified right"

CLASS_MEASURES = (
    Measure(
        "swap_gap",
        "swap",
        AccuracyDifference("control", "tested"),
        "Spurious features of another class in place of their own cost",
        "of accuracy on the pictures {subject}",
        points,
        "higher",
    ),
    Measure(
        "swap_same_accuracy",
        "swap",
        Accuracy("control"),
        "With the spurious features of another picture of the class,",
        _RIGHT,
        percent,
        "neither",
    ),
    Measure(
        "swap_other_accuracy",
        "swap",
        Accuracy("tested"),
        "With the spurious features of a picture of another class,",
        _RIGHT,
        percent,
        "lower",
    ),
    Measure(
        "swap_evidence",
        "swap",
        Evidence(),
        "Spurious features of another class in place of their own take",
        "of evidence on the pictures {subject}",
        nats,
        "higher",
    ),
    Measure(
        "swap_pull",
        "pull",
        AccuracyDifference("tested", "control"),
        "Pictures of other classes are taken",
        "more often for the class whose spurious features they are given, with those {subject}",
        points,
        "higher",
    ),
    Measure("clean_accuracy", "whole", Accuracy("clean"), "Without noise,", _RIGHT, percent, "lower"),
    Measure(
        "core_accuracy",
        "spurious",
        Accuracy("tested"),
        "With noise on the spurious features,",
        _RIGHT,
        percent,
        "lower",
    ),
    Measure(
        "spurious_drop",
        "spurious",
        AccuracyDifference("clean", "tested"),
        "Noise on the spurious features costs",
        "of accuracy on the pictures {subject}",
        points,
        "higher",
    ),
    Measure(
        "spurious_control_accuracy",
        "spurious",
        Accuracy("control"),
        "With the same noise away from the spurious features,",
        _RIGHT,
        percent,
        "neither",
    ),
    Measure(
        "spurious_control_difference",
        "spurious",
        AccuracyDifference("control", "tested"),
        "Noise on the spurious features costs",
        "more than the same noise elsewhere, on the pictures {subject}",
        points,
        "higher",
    ),
    Measure(
        "spurious_accuracy", "core", Accuracy("tested"), "With noise on the core features,", _RIGHT, percent, "higher"
    ),
    Measure(
        "core_control_accuracy",
        "core",
        Accuracy("control"),
        "With the same noise away from the core features,",
        _RIGHT,
        percent,
        "neither",
    ),
    Measure(
        "core_control_difference",
        "core",
        AccuracyDifference("control", "tested"),
        "Noise on the core features costs",
        "more than the same noise elsewhere, on the pictures {subject}",
        points,
        "lower",
    ),
    Measure(
        SPURIOUS_EVIDENCE,
        "spurious",
        Evidence(),
        "Noise on the spurious features takes",
        "of evidence more than the same noise elsewhere, on the pictures {subject}",
        nats,
        "higher",
    ),
    Measure(
        CORE_EVIDENCE,
        "core",
        Evidence(),
        "Noise on the core features takes",
        "of evidence more than the same noise elsewhere, on the pictures {subject}",
        nats,
        "lower",
    ),
    Measure(
        "rcs",
        "core",
        CoreSensitivity(),
        "Relative core sensitivity is",
        "on the pictures {subject}, where 1 is reliance on the core alone and −1 on all but the core",
        index,
        "lower",
    ),
)

FEATURE_MEASURES = (
    Measure(
        "sensitivity",
        "feature",
        AccuracyDifference("clean", "tested"),
        "Noise on this feature costs",
        "of accuracy on the pictures {subject}",
        points,
        "neither",
    ),
    Measure(
        "control_difference",
        "feature",
        AccuracyDifference("control", "tested"),
        "Noise on this feature costs",
        "more than the same noise elsewhere, on the pictures {subject}",
        points,
        "neither",
    ),
    Measure(
        "evidence",
        "feature",
        Evidence(),
        "Noise on this feature takes",
        "of evidence more than the same noise elsewhere, on the pictures {subject}",
        nats,
        "neither",
    ),
)


def evidence_balance(spurious: Estimate, core: Estimate, subject: str) -> Figure:
    """Evidence lost to noise on the spurious features less that lost to noise on the core features."""
    return less(spurious, core).figure(
        "Noise on the spurious features takes",
        f"of evidence more than noise on the core features, each beyond the same noise elsewhere, "
        f"on the pictures {subject}; higher is worse",
        nats,
    )
