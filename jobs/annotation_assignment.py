"""Who is asked about which panel: everybody starts at another place, and panels with all their answers are left out.

An annotator goes through the panels in their order, by class and rank, so that what belongs together comes together.
The places where annotators start halve the largest gap between those before them (van der Corput's sequence in base 2),
so that few people at once cover all panels soon and rarely look at the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from jobs.annotation import Answer, ValidationAnswer
from jobs.annotation_index import AnnotationIndex

EARLIEST = datetime.min.replace(tzinfo=UTC)

Given = TypeVar("Given", Answer, ValidationAnswer)


def start(number: int, panels: int) -> int:
    """Where the annotator with this number, from 0, starts among `panels` panels."""
    share, half = 0.0, 0.5
    while number:
        share += half * (number & 1)
        number, half = number >> 1, half / 2
    return int(share * panels)


def owed(index: AnnotationIndex, annotator: str, after: str | None = None) -> Iterator[str]:
    """The panels of the present round that an annotator may still answer, the next one first.

    Args:
        index: of the annotation.
        annotator: id.
        after: a panel that they have just seen: those that follow it come first.
    """
    order, settled = index.order, index.settled()
    first = (
        index.place[after] + 1
        if after is not None and after in index.place
        else start(_number(index, annotator), len(order))
    )
    mine = _answered(index, annotator)
    for step in range(len(order)):
        panel = order[(first + step) % len(order)]
        if panel not in settled and panel not in mine:
            yield panel


def left(index: AnnotationIndex, annotator: str) -> int:
    """How many panels an annotator may still answer in the present round."""
    settled, mine = index.settled(), _answered(index, annotator)
    return len(index.order) - len(settled) - sum(panel not in settled for panel in mine)


def before(mine: Mapping[str, Given], panel: str) -> str | None:
    """The panel that an annotator answered right before `panel`, or last of all where they have not answered it.

    Args:
        mine: their answers by panel.
        panel: id.
    """
    own = mine.get(panel)
    earlier: Iterable[tuple[datetime, str]] = (
        (answer.at or EARLIEST, known)
        for known, answer in mine.items()
        if own is None or (answer.at or EARLIEST, known) < (own.at or EARLIEST, panel)
    )
    return max(earlier, default=(EARLIEST, None))[1]


def _answered(index: AnnotationIndex, annotator: str) -> Mapping[str, object]:
    """What an annotator has answered in the present round, by panel."""
    return (index.mine if index.record.stage == "labels" else index.validated).get(annotator, {})


def _number(index: AnnotationIndex, annotator: str) -> int:
    """The annotator's place in the order in which people were invited."""
    joined = sorted((one.joined or EARLIEST, one.id) for one in index.annotators.values())
    return next((number for number, (_, known) in enumerate(joined) if known == annotator), 0)
