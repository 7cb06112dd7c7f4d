"""One audited classifier of the panel: what is true of it, and each figure of its audit under one name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from jobs.findings import Findings
from jobs.measures import CLASS_MEASURES, FEATURE_MEASURES
from jobs.metrics import BUILT_IN, EVIDENCE_BALANCE
from jobs.robustness import HIGHEST, LOWEST
from jobs.sections import Entry, Section
from models.effective_robustness import effective_robustness

ROBUSTNESS = "effective_robustness"
"""Stands in comparisons, not in an audit."""

LISTS = frozenset({"own-head.loading"})
"""Entries of lists: they say where to look and not how much there is."""


@dataclass(frozen=True)
class Member:
    """One classifier, what is true of it and what the audit says.

    Attributes:
        name: in the panel.
        truth: class -> accuracy with own cues less accuracy with swapped cues, of classes whose cues the bank knows.
        means: measure -> mean over classes; None where withheld.
        classes: measure -> class -> figure's value.
        flagged: measurement -> classes flagged.
        worse: measure -> which direction speaks for reliance, "higher", "lower" or "neither".
    """

    name: str
    truth: dict[str, float]
    means: dict[str, float | None] = field(default_factory=dict)
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    flagged: dict[str, list[str]] = field(default_factory=dict)
    worse: dict[str, str] = field(default_factory=dict)

    @property
    def reliance(self) -> float:
        """The mean over classes."""
        return float(np.mean(list(self.truth.values())))


def note_findings(member: Member, findings: Findings) -> None:
    """Keep the figures that stand in an audit's findings; those of single spurious features as their mean by class."""
    for name in [*(measure.name for measure in CLASS_MEASURES), EVIDENCE_BALANCE.name]:
        member.worse[name] = BUILT_IN[name].worse
        member.means[name] = getattr(findings.overall, name).class_mean.value
        figures = {own.name: getattr(own, name).value for own in findings.classes}
        member.classes[name] = {known: value for known, value in figures.items() if value is not None}
    for measure in FEATURE_MEASURES:
        features = [(own.name, one) for own in findings.classes for one in own.features if one.label == "spurious"]
        known = [(name, value) for name, one in features if (value := getattr(one, measure.name).value) is not None]
        _keep(member, f"{measure.name}[spurious features]", measure.worse, _means(known), ())
    member.flagged["verdict"] = [own.name for own in findings.classes if own.verdict == "relies"]


def note_section(member: Member, section: Section) -> None:
    """Keep the figures of one measurement, part by part; where only single features have them, their mean by class."""
    for metric in section.metrics:
        name = f"{section.name}.{metric.name}"
        entries = [entry for entry in section.entries if entry.metric == metric.name]
        whole = [entry for entry in entries if entry.feature is None]
        if name in LISTS or not entries:
            continue
        if not any(entry.of is not None for entry in whole):
            _note(member, name, metric.worse, entries)
            continue
        for part in dict.fromkeys(entry.part for entry in whole):
            own = [entry for entry in whole if entry.part == part]
            _note(member, name + (f"[{part}]" if part else ""), metric.worse, own)


def _note(member: Member, name: str, worse: str, entries: Sequence[Entry]) -> None:
    known = [(e.of, e.figure.value) for e in entries if e.of is not None and e.figure.value is not None]
    overall = [entry.figure.value for entry in entries if entry.of is None]
    _keep(member, name, worse, _means(known), overall)
    if any(entry.p_value is not None for entry in entries):
        member.flagged[name] = list(dict.fromkeys(e.of for e in entries if e.flagged and e.of is not None))


def _means(known: Sequence[tuple[str, float]]) -> dict[str, float]:
    """By class, of one or more figures of each."""
    values: dict[str, list[float]] = defaultdict(list)
    for name, value in known:
        values[name].append(value)
    return {name: float(np.mean(own)) for name, own in values.items()}


def _keep(member: Member, name: str, worse: str, classes: dict[str, float], overall: Sequence[float | None]) -> None:
    """One measure; where there is no overall figure, the mean of the classes' is."""
    member.worse[name], member.classes[name] = worse, classes
    own_mean = float(np.mean(list(classes.values()))) if classes else None
    member.means[name] = overall[0] if overall else own_mean


def with_robustness(members: Sequence[Member]) -> list[Member]:
    """The members with their effective robustness, the line being fitted to all of them, as comparisons do."""
    ends = [[member.means[place.metric] for member in members] for place in (HIGHEST, LOWEST)]
    highest, lowest = (np.array(own, dtype=np.float64) for own in ends)
    residuals = effective_robustness(highest, lowest).residuals.tolist()
    return [
        replace(member, means={**member.means, ROBUSTNESS: residual}, worse={**member.worse, ROBUSTNESS: "lower"})
        for member, residual in zip(members, residuals, strict=True)
    ]
