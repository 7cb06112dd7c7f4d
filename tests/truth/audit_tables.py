"""The tables of `docs/audit-truth.md`: every measure of an audit held against true reliance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.statistics import wilson
from models.training.discovery_recall import Share
from models.training.documents import decimal, share, table, write_document
from tests.truth.artefacts import Scored
from tests.truth.members import Member, with_robustness
from tests.truth.ranks import auroc, spearman

RELIANT, FREE = 0.1, 0.02
"""A class counts as relied on for its cues from this true reliance on, and as free of it up to this one."""

NOTHING = 0.05
"""A classifier counts as reliant on nothing where the cues of no class count for more than this, for it or against."""

PUBLISHED = "core_accuracy"
"""The protocol of Salient ImageNet: accuracy with noise on the spurious features, without control."""


@dataclass(frozen=True)
class Score:
    """How a measure did.

    Attributes:
        measure: its address.
        members: classifiers that have the figure.
        rank: Spearman's correlation of the mean over classes with true reliance; positive where it orders them rightly.
        area: AUROC of a class's figure for being relied on, over all classifiers.
        found, alarms: classes flagged among those relied on, and among the free; None where nothing is flagged by it.
        quiet: as `alarms`, of the classifiers alone that rely on nothing.
    """

    measure: str
    members: int
    rank: float
    area: float
    found: Share | None
    alarms: Share | None
    quiet: Share | None


def scores(members: Sequence[Member]) -> list[Score]:
    """All measures, the best at ordering classifiers first."""
    worse = {name: own for member in members for name, own in member.worse.items()}
    found = [_score(name, members, -1.0 if own == "lower" else 1.0) for name, own in worse.items()]
    return sorted(found, key=lambda own: (np.isnan(own.rank), -own.rank))


def _score(name: str, members: Sequence[Member], sign: float) -> Score:
    having = [(own.reliance, sign * value) for own in members if (value := own.means.get(name)) is not None]
    reliant = [sign * value for _, value in _classes(name, members, reliant=True)]
    free = [sign * value for _, value in _classes(name, members, reliant=False)]
    flags = "verdict" if name == "swap_gap" else name
    return Score(
        name,
        len(having),
        spearman(*zip(*having, strict=True)) if len(having) > 2 else float("nan"),
        auroc(reliant, free),
        _flagged(flags, name, members, reliant=True),
        _flagged(flags, name, members, reliant=False),
        _flagged(flags, name, [own for own in members if relies_on_nothing(own)], reliant=False),
    )


def relies_on_nothing(member: Member) -> bool:
    """Whether the cues of no class count."""
    return max(abs(value) for value in member.truth.values()) <= NOTHING


def _classes(name: str, members: Sequence[Member], *, reliant: bool) -> list[tuple[tuple[str, str], float]]:
    """Figures of single classes that are surely relied on for their cues, or surely not."""
    return [
        ((member.name, known), value)
        for member in members
        for known, value in member.classes.get(name, {}).items()
        if known in member.truth and _is(member.truth[known], reliant=reliant)
    ]


def _is(reliance: float, *, reliant: bool) -> bool:
    return reliance >= RELIANT if reliant else reliance <= FREE


def _flagged(flags: str, name: str, members: Sequence[Member], *, reliant: bool) -> Share | None:
    if not any(flags in member.flagged for member in members):
        return None
    asked = [key for key, _ in _classes(name, members, reliant=reliant)]
    by_name = {member.name: member.flagged.get(flags, []) for member in members}
    count = sum(known in by_name[member] for member, known in asked)
    return Share(count, len(asked), wilson(count, len(asked)))


def write(members: Sequence[Member], scored: Sequence[Scored], document: Path, per_class: int) -> None:
    """Write the tables into the document, and everything measured beside it."""
    members = with_robustness(members)
    found = scores(members)
    classes = sorted({known for member in members for known in member.truth})
    shown = ["swap_gap", *(own.measure for own in found[:4] if own.measure != "swap_gap"), PUBLISHED]
    parts = [
        f"{len(members)} classifiers, {sum(map(relies_on_nothing, members))} of them reliant on nothing; {per_class} "
        f"pictures of each of {len(classes)} classes.\n",
        f"### The measures\n\n{_measures(found)}",
        f"### The classifiers\n\n{_members(members, list(dict.fromkeys(shown)))}",
        f"### True reliance by class\n\n{_truth(members, classes)}",
        f"### Planted artefacts\n\n{_artefacts(scored)}",
    ]
    figures = {
        "scores": [_scored(own) for own in found],
        "members": [_record(own) for own in members],
        "artefacts": [asdict(own) for own in scored],
    }
    write_document(document, "\n".join(parts), figures)


def _scored(score: Score) -> dict[str, Any]:
    """What is kept of a measure; JSON has no NaN."""
    every = asdict(score)
    return {key: None if isinstance(own, float) and np.isnan(own) else own for key, own in every.items()}


def _record(member: Member) -> dict[str, Any]:
    """What is kept of a classifier: its truth by class, the means of all measures and what is flagged."""
    means = {name: None if value is None else round(value, 4) for name, value in member.means.items()}
    truth = {name: round(value, 4) for name, value in member.truth.items()}
    return {"name": member.name, "truth": truth, "means": means, "flagged": member.flagged}


def _measures(found: Sequence[Score]) -> str:
    header = ("measure", "Spearman", "AUROC of classes", "relied on, flagged", "free, flagged",
              "of these, of classifiers that rely on nothing", "classifiers")  # fmt: skip
    return table(
        header,
        [
            (
                f"**{own.measure}**" if own.measure in ("swap_gap", PUBLISHED) else own.measure,
                _signed(own.rank),
                "" if np.isnan(own.area) else decimal(own.area),
                *(share(flags) if flags else "" for flags in (own.found, own.alarms, own.quiet)),
                str(own.members),
            )
            for own in found
        ],
    )


def _members(members: Sequence[Member], shown: Sequence[str]) -> str:
    header = ("classifier", "true reliance", *shown, "classes flagged by the verdict")
    return table(
        header,
        [
            (
                own.name,
                _signed(own.reliance),
                *(_signed(own.means.get(name)) for name in shown),
                ", ".join(own.flagged.get("verdict", [])),
            )
            for own in members
        ],
    )


def _truth(members: Sequence[Member], classes: Sequence[str]) -> str:
    return table(("classifier", *classes), [(own.name, *(_signed(own.truth[c]) for c in classes)) for own in members])


def _artefacts(scored: Sequence[Scored]) -> str:
    header = ("classifier", "class", "true reliance", "spurious score", "beyond its control", "flagged", "false alarms")
    lines = [
        (
            own.name,
            own.target,
            _signed(own.truth),
            _signed(own.score),
            _signed(own.difference),
            "yes" if own.flagged else "",
            share(Share(own.alarms, own.free, wilson(own.alarms, own.free))),
        )
        for own in scored
    ]
    known = [(own.truth, own.difference) for own in scored if own.difference is not None]
    rank = _signed(spearman(*zip(*known, strict=True)))
    return f"Spearman of true reliance with the score beyond its control: {rank}.\n\n{table(header, lines)}"


def _signed(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.2f}".replace("-", "−")
