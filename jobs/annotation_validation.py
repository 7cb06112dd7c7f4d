"""The second round: which rows were found to show one thing over the class's top fifth, and what that bounds."""

from __future__ import annotations

from jobs.annotation import AnnotationRecord, Row, Rows, folder
from jobs.errors import Conflict, NotFound
from jobs.store import Store


def read_rows(store: Store, annotation: str) -> Rows | None:
    """The rows of the second round; None until its job has drawn them."""
    try:
        return Rows.model_validate_json(store.read_bytes(f"{folder(annotation)}/validation/rows.json"))
    except NotFound:
        return None


def find_row(store: Store, record: AnnotationRecord, panel: str) -> Row:
    """One row of the second round.

    Raises:
        Conflict: its pictures are not drawn yet. NotFound: it has none.
    """
    rows = read_rows(store, record.id)
    if rows is None:
        raise Conflict(
            "The pictures of the second round are still being drawn.",
            field="annotation",
            remedy="Ask again in a moment.",
        )
    found = next((row for row in rows.rows if row.panel == panel), None)
    if found is None:
        raise NotFound(f"Panel {panel} has no pictures in the second round.", field="panel")
    return found
