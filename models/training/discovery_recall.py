"""Counts of what candidate features found: recall of objects and cues, precision, and what chance would reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from models.bank import Kind
from models.planted.scenes import CLASSES
from models.statistics import Interval, wilson
from models.training.feature_truth import kinds_of

Judged = Sequence[Sequence[Kind | None]]
"""For each class what its candidates show, the best candidate first."""

CUES: tuple[Kind, ...] = ("background", "separate_object")


@dataclass(frozen=True)
class Share:
    """``count`` of ``total``; by chance the count is an expectation, and no interval belongs to it."""

    count: float
    total: int
    interval: Interval | None = None

    @classmethod
    def counted(cls, count: int, total: int) -> Share:
        """With Wilson's 95 % interval."""
        return cls(count, total, wilson(count, total))

    @property
    def value(self) -> float:
        """In [0, 1]; 0 of nothing."""
        return self.count / self.total if self.total else 0.0


@dataclass(frozen=True)
class Figures:
    """What the first ``k`` candidates of every class found.

    recall: of objects, of background cues, of separate-object cues, and of both kinds of cues together; each counts
    the classes (with two cues: each cue) of which at least one candidate shows it. precision: candidates that show
    any of them, of all candidates; those of one class are not independent, so its interval is too narrow.
    """

    k: int
    objects: Share
    backgrounds: Share
    separate_objects: Share
    cues: Share
    precision: Share


def figures(judged: Judged, k: int) -> Figures:
    """Counted over the first ``k`` candidates of each class; a method may give fewer."""
    first = [list(parts[:k]) for parts in judged]

    def recall(*kinds: Kind) -> Share:
        there = _there(kinds)
        return Share.counted(sum(kind in first[index] for index, kind in there), len(there))

    showing = sum(part is not None for parts in first for part in parts)
    return Figures(
        k,
        recall("main_object"),
        recall("background"),
        recall("separate_object"),
        recall(*CUES),
        Share.counted(showing, sum(map(len, first))),
    )


def chance(judged: Judged, k: int) -> Figures:
    """Expected of ``k`` features drawn at random without replacement from all, judged here for each class."""

    def recall(*kinds: Kind) -> Share:
        there = _there(kinds)
        return Share(sum(_hit(judged[index], kind, k) for index, kind in there), len(there))

    drawn = [min(k, len(parts)) for parts in judged]
    showing = sum(
        count * sum(part is not None for part in parts) / len(parts) for count, parts in zip(drawn, judged, strict=True)
    )
    return Figures(
        k,
        recall("main_object"),
        recall("background"),
        recall("separate_object"),
        recall(*CUES),
        Share(showing, sum(drawn)),
    )


def _there(kinds: Sequence[Kind]) -> list[tuple[int, Kind]]:
    return [(index, kind) for index, label in enumerate(CLASSES) for kind in kinds if kind in kinds_of(label)]


def _hit(parts: Sequence[Kind | None], kind: Kind, k: int) -> float:
    """Probability that at least one of ``k`` features drawn from all shows the kind (hypergeometric)."""
    drawn = min(k, len(parts))
    return 1 - comb(len(parts) - list(parts).count(kind), drawn) / comb(len(parts), drawn)
