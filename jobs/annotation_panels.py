"""The panels of an annotation: taken from its draft once, when it is created."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from jobs.annotation import Panel, PanelClass, Panels, draft_folder
from jobs.errors import Conflict, Invalid, NotFound
from jobs.store import Store
from models.bank_votes import Row
from models.draft import Candidate, Draft, DraftClass

READERS = 16
"""Class files read at once: an object store answers each in tens of milliseconds."""


def read_draft(store: Store, discovery: str) -> Draft:
    """The draft of a discovery. Raises `NotFound` where there is none, or none yet."""
    if not discovery.isalnum():
        raise NotFound(f"There is no draft {discovery[:80]!r}.", field="draft")
    try:
        return Draft.model_validate_json(store.read_bytes(f"{draft_folder(discovery)}/draft.json"))
    except NotFound as error:
        raise NotFound(f"There is no draft {discovery[:80]!r}.", field="draft") from error


def read_classes(store: Store, draft: Draft, indices: Sequence[int]) -> list[DraftClass]:
    """Some classes of a draft, in that order."""

    def read(index: int) -> DraftClass:
        return DraftClass.model_validate_json(store.read_bytes(f"{draft_folder(draft.id)}/classes/{index}.json"))

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read, indices))


def make_panels(
    store: Store, draft: Draft, classes: Sequence[str] | None, rows: Collection[Row] | None = None
) -> Panels:
    """The panels of a draft, by class and rank.

    Args:
        store: that has the draft.
        draft: what discovery left.
        classes: names of the classes to label; None for all.
        rows: class and feature index of those to label; None for all.

    Raises:
        Invalid: there is no such class, or nothing to be labelled in those there are.
        Conflict: there is no panel of one of the rows.
    """
    known = {one.name for one in draft.classes}
    unknown = [name for name in classes or () if name not in known]
    if unknown:
        raise Invalid(
            f"The draft has no class {unknown[0][:100]!r}.",
            field="classes",
            remedy="Use names of the draft's class list.",
        )
    chosen = [one.index for one in draft.classes if one.candidates and (classes is None or one.name in classes)]
    described = read_classes(store, draft, chosen)
    panels = [
        _panel(draft, candidate)
        for one in described
        for candidate in one.candidates
        if rows is None or (candidate.class_index, candidate.feature_index) in rows
    ]
    if missing := sorted(set(rows or ()) - {(panel.class_index, panel.feature_index) for panel in panels}):
        raise Conflict(
            f"The draft has no panel of class {missing[0][0]}, feature {missing[0][1]}"
            + (f", and {len(missing) - 1:,} more are lacking." if len(missing) > 1 else "."),
            field="draft",
            remedy="Name a draft that has all rows of the bank, or only the classes that it has.",
        )
    if not panels:
        raise Invalid("The draft has no candidates to be labelled.", field="draft" if classes is None else "classes")
    return Panels(
        classes=tuple(
            PanelClass(index=one.index, name=one.name, description=one.description, strip=one.strip)
            for one in described
            if any(panel.class_index == one.index for panel in panels)
        ),
        panels=tuple(panels),
    )


def _panel(draft: Draft, candidate: Candidate) -> Panel:
    return Panel(
        id=f"{candidate.class_index}-{candidate.feature_index}",
        class_index=candidate.class_index,
        feature_index=candidate.feature_index,
        rank=candidate.rank,
        file=candidate.panel,
        tile=candidate.tile,
        columns=_columns(draft, candidate),
        prototype=candidate.prototype is not None,
        also=tuple(draft.encoder.classes[index] for index in candidate.tops),
    )


def _columns(draft: Draft, candidate: Candidate) -> int:
    """As discovery draws them: a column per exemplar asked for, and one more for a prototype."""
    asked = draft.request.get("exemplars")
    columns = asked if isinstance(asked, int) else len(candidate.exemplars)
    return max(columns, len(candidate.exemplars)) + (candidate.prototype is not None)
