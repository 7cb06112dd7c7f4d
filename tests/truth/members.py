"""One audited classifier of the panel: what is true of it, and each figure of its audit under one name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from jobs.findings import Findings
from jobs.measures import CLASS_MEASURES
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
    """

    name: str
    truth: dict[str, float]
    means: dict[str, float | None] = field(default_factory=dict)
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    flagged: dict[str, list[str]] = field(default_factory=dict)

    @property
    def reliance(self) -> float:
        """The mean over classes."""
        return float(np.mean(list(self.truth.values())))


def note_findings(member: Member, findings: Findings) -> None:
    """Keep the figures that stand in an audit's findings."""
    names = [*(measure.name for measure in CLASS_MEASURES), "evidence_balance"]
    for name in names:
        member.means[name] = getattr(findings.overall, name).class_mean.value
        figures = {own.name: getattr(own, name).value for own in findings.classes}
        member.classes[name] = {known: value for known, value in figures.items() if value is not None}
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
            _note(member, name, entries)
            continue
        for part in dict.fromkeys(entry.part for entry in whole):
            _note(member, name + (f"[{part}]" if part else ""), [entry for entry in whole if entry.part == part])


def _note(member: Member, name: str, entries: Sequence[Entry]) -> None:
    values: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        if entry.of is not None and entry.figure.value is not None:
            values[entry.of].append(entry.figure.value)
    classes = {known: float(np.mean(own)) for known, own in values.items()}
    overall = [entry.figure.value for entry in entries if entry.of is None]
    own_mean = float(np.mean(list(classes.values()))) if classes else None
    member.classes[name] = classes
    member.means[name] = overall[0] if overall else own_mean
    if any(entry.p_value is not None for entry in entries):
        member.flagged[name] = list(dict.fromkeys(e.of for e in entries if e.flagged and e.of is not None))


def with_robustness(members: Sequence[Member]) -> list[Member]:
    """The members with their effective robustness, the line being fitted to all of them, as comparisons do."""
    ends = [[member.means[place.metric] for member in members] for place in (HIGHEST, LOWEST)]
    highest, lowest = (np.array(own, dtype=np.float64) for own in ends)
    residuals = effective_robustness(highest, lowest).residuals.tolist()
    return [
        replace(member, means={**member.means, ROBUSTNESS: residual})
        for member, residual in zip(members, residuals, strict=True)
    ]
