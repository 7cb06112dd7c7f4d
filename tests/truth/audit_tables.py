"""The tables of `docs/audit-truth.md`: every measure of an audit held against true reliance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.statistics import Interval, wilson
from models.training.discovery_recall import Share
from models.training.documents import decimal, share, table, write_document
from tests.truth.artefacts import Scored
from tests.truth.members import Member, with_robustness
from tests.truth.panel import TEMPERED
from tests.truth.ranks import auroc, spearman, spearman_interval

RELIANT, FREE = 0.1, 0.02
"""A class counts as relied on for its cues from this true reliance on, and as free of it up to this one."""

NOTHING = 0.05
"""A classifier counts as reliant on nothing where the cues of no class count for more than this, for it or against."""

SCALED = frozenset(own.name for own in TEMPERED)

PUBLISHED = "core_accuracy"
"""The protocol of Salient ImageNet: accuracy with noise on the spurious features, without control."""

FIRST, SHOWN = ("swap_gap", PUBLISHED), 5
"""In bold, and classifier by classifier; beside them the best measure of each of so many measurements."""


@dataclass(frozen=True)
class Score:
    """How a measure did.

    Attributes:
        measure: its address.
        members: classifiers that have the figure.
        rank: Spearman's correlation of the mean over classes with true reliance; positive where it orders them rightly.
        interval: of that, over classifiers.
        unscaled: as `rank`, without those that are only surer or less sure of another one's answers.
        area: AUROC of a class's figure for being relied on, over all classifiers.
        found, alarms: classes flagged among those relied on, and among the free; None where nothing is flagged by it.
        quiet: as `alarms`, of the classifiers alone that rely on nothing.
    """

    measure: str
    members: int
    rank: float
    interval: Interval | None
    unscaled: float
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
    pairs = _pairs(name, members, sign)
    reliant = [sign * value for _, value in _classes(name, members, reliant=True)]
    free = [sign * value for _, value in _classes(name, members, reliant=False)]
    flags = "verdict" if name == "swap_gap" else name
    return Score(
        name,
        len(pairs[0]),
        spearman(*pairs),
        spearman_interval(*pairs),
        spearman(*_pairs(name, [own for own in members if own.name not in SCALED], sign)),
        auroc(reliant, free),
        _flagged(flags, name, members, reliant=True),
        _flagged(flags, name, members, reliant=False),
        _flagged(flags, name, [own for own in members if relies_on_nothing(own)], reliant=False),
    )


def _pairs(name: str, members: Sequence[Member], sign: float) -> tuple[list[float], list[float]]:
    """True reliance and the figure of those that have it."""
    known = [(own.reliance, sign * value) for own in members if (value := own.means.get(name)) is not None]
    return [reliance for reliance, _ in known], [value for _, value in known]


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
    best = {own.measure.partition(".")[0]: own.measure for own in reversed(found)}
    others = [own.measure for own in found if own.measure in best.values() and own.measure not in FIRST]
    shown = [FIRST[0], *others[:SHOWN], *FIRST[1:]]
    parts = [
        f"{len(members)} classifiers, {sum(map(relies_on_nothing, members))} of them reliant on nothing; {per_class} "
        f"pictures of each of {len(classes)} classes.\n",
        f"### The measures\n\n{_measures(found)}",
        f"### The classifiers\n\n{_members(members, shown)}",
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
    header = ("measure", "Spearman", "without the surer and less sure", "AUROC of classes", "relied on, flagged",
              "free, flagged", "of these, of classifiers that rely on nothing", "classifiers")  # fmt: skip
    return table(
        header,
        [
            (
                f"**{own.measure}**" if own.measure in FIRST else own.measure,
                _ranked(own),
                _places(own.unscaled),
                "" if np.isnan(own.area) else decimal(own.area),
                *(share(flags) if flags else "" for flags in (own.found, own.alarms, own.quiet)),
                str(own.members),
            )
            for own in found
        ],
    )


def _ranked(score: Score) -> str:
    if score.interval is None:
        return ""
    low, high = (f"{own:.2f}" for own in (score.interval.low, score.interval.high))
    return f"{_places(score.rank)} ({low} to {high})".replace("0.", ".").replace("-", "−")


def _places(rank: float) -> str:
    """Three: the best lie close together."""
    return "" if np.isnan(rank) else f"{rank:.3f}".replace("0.", ".").replace("-", "−")


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
