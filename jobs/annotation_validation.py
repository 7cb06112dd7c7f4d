"""The second round: which rows were found to show one thing over the class's top fifth, and what that bounds.

As in the generalisation study of Singla & Feizi (ICLR 2022, 3.4): people compare the pictures of the class's top fifth
on which a feature is strongest, those in the middle, and the weakest. A row is validated where at least four fifths of
them say that all show the same, and at least four fifths did not tick every picture as different.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import BaseModel, Field

from jobs.annotation import AnnotationRecord, Row, Rows, ValidationAnswer, folder
from jobs.annotation_index import AnnotationIndex
from jobs.errors import Conflict, NotFound
from jobs.store import Store
from models.bank import Statistics
from models.statistics import wilson

GROUPS = ("highest", "middle", "lowest")
SHARE = (4, 5)
"""Of the people asked, as a fraction: 4 of 5 as published."""


class Validated(BaseModel):
    """How many rows were found to be valid."""

    share: float | None = Field(description="Of the rows judged, in [0, 1]; absent where none is yet.")
    low: float = Field(description="Of its 95 % interval (Wilson).")
    high: float
    validated: int
    judged: int = Field(description="Rows that have all their answers.")
    rows: int = Field(description="All rows of the round.")
    rejected: list[str] = Field([], description="Panels judged and not validated.")


def read_rows(store: Store, annotation: str) -> Rows | None:
    """The rows of the second round; None until its job has drawn them."""
    try:
        return Rows.model_validate_json(store.read_bytes(f"{folder(annotation)}/validation/rows.json"))
    except NotFound:
        return None


def require_drawn(index: AnnotationIndex) -> Mapping[str, Row]:
    """The rows of the second round. Raises `Conflict` where its pictures are not drawn yet."""
    if index.rows is None:
        raise Conflict(
            "The pictures of the second round are still being drawn.",
            field="annotation",
            remedy="Ask again in a moment.",
        )
    return index.rows


def require_row(index: AnnotationIndex, panel: str) -> Row:
    """One row of the second round. Raises `NotFound` where it has none, and as `require_drawn`."""
    rows = require_drawn(index)
    if panel not in rows:
        raise NotFound(f"There is no panel {panel[:80]!r} in the second round.", field="panel")
    return rows[panel]


def verdict(given: Collection[ValidationAnswer], pictures: int) -> bool:
    """Whether a row is validated by its answers, at least one.

    Args:
        given: of all who were asked.
        pictures: of all three groups together.
    """
    share, of = SHARE
    same = sum(one.same for one in given)
    some = sum(len(one.different) < pictures for one in given)
    return of * min(same, some) >= share * len(given)


def verdicts(index: AnnotationIndex) -> dict[str, bool]:
    """The rows that have all their answers, and whether each is validated."""
    found = {}
    for panel, row in (index.rows or {}).items():
        given = index.validations.get(panel, {}).values()
        if given and len(given) >= index.record.validators:
            found[panel] = verdict(given, len(GROUPS) * row.pictures)
    return found


def lacking(index: AnnotationIndex) -> dict[str, int]:
    """Rows of the second round that lack answers, and how many each lacks."""
    wanted: AnnotationRecord = index.record
    missing = {panel: wanted.validators - len(index.validations.get(panel, ())) for panel in index.rows or ()}
    return {panel: number for panel, number in missing.items() if number > 0}


def validated(index: AnnotationIndex) -> Validated | None:
    """How many rows are valid so far; None before the second round."""
    if index.record.stage != "validation":
        return None
    found = verdicts(index)
    number = sum(found.values())
    interval = wilson(number, len(found))
    return Validated(
        share=round(number / len(found), 4) if found else None,
        low=round(interval.low, 4),
        high=round(interval.high, 4),
        validated=number,
        judged=len(found),
        rows=len(index.rows or ()),
        rejected=[panel for panel, fine in found.items() if not fine],
    )


def bounded(statistics: Statistics, row: Row | None, fine: bool | None, exemplars: Collection[float]) -> Statistics:
    """The range in which a row's masks may be believed.

    Args:
        statistics: of the row as discovery left them: valid from the quantile of the top fifth on.
        row: of the second round, if there was one.
        fine: whether it was validated; None where nobody was asked, which changes nothing.
        exemplars: activations of the panel's own pictures.

    Returns:
        Validated: from the weakest picture of the top fifth that people saw on. Not validated: only where all who
        labelled it looked, from the weakest picture of its panel on.
    """
    if row is None or fine is None:
        return statistics
    lowest = row.lowest if fine else min(exemplars, default=statistics.valid_to)
    return statistics.model_copy(update={"valid_from": min(lowest, statistics.valid_to)})
