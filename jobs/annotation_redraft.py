"""Drafting a published bank again: a session on its rows that begins with the answers it was published with."""

from __future__ import annotations

from collections.abc import Collection

import torch

from jobs.annotation import LONGEST_REASON, AnnotationRecord, Answer, Import, ImportedAnswer, draft_folder
from jobs.annotation_panels import read_draft
from jobs.annotations import Annotations
from jobs.errors import Conflict, Invalid, NotFound
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import find_bank
from models.bank import COMPONENTS, WEIGHTS, Bank
from models.bank_card import read_provenance
from models.bank_edit import Kept, to_label
from models.bank_votes import BankVotes, Row, read_votes
from models.components import Components
from models.draft import Draft

ANSWERS, THRESHOLD = 5, 3
"""As published for Salient ImageNet; of banks that do not state theirs."""


def draft_again(
    annotations: Annotations,
    settings: Settings,
    bank: str,
    *,
    draft: str | None = None,
    title: str = "",
    answers_per_panel: int | None = None,
    threshold: int | None = None,
    classes: list[str] | None = None,
    identifier: str | None = None,
) -> AnnotationRecord:
    """Start a session on the rows of a published bank; its answers are there as those of its annotators.

    Args:
        annotations: takes the session.
        settings: where banks are.
        bank: name, `name@version` or digest.
        draft: discovery that has the panels; the one that the bank's card names where left out.
        title: the bank's where it is empty.
        answers_per_panel, threshold: those that the bank was decided by where left out.
        classes: names of the classes to label again; all that have rows where left out.
        identifier: as in `Annotations.create`.

    Raises:
        NotFound: there is no such bank or draft.
        Conflict: the pictures of its panels are not at hand.
        Invalid: the draft is of another network, the bank has no such class, or a figure is out of range.
    """
    found = find_bank(settings, bank)
    wanted = to_label(Kept(found, read_votes(found)))
    rows = [row for row in wanted.rows if classes is None or found.classes[row[0]] in classes]
    if not rows:
        raise Invalid(f"Bank {found.name!r} has no rows of these classes.", field="classes")
    drawn = _draft(annotations.store, found, draft or wanted.draft, named=draft is not None)
    _require_network(annotations.store, found, drawn, rows)
    provenance = read_provenance(found.card)
    answers = answers_per_panel or provenance.of or ANSWERS
    return annotations.create(
        drawn.id,
        title=title.strip() or found.manifest.title[:200],
        answers_per_panel=answers,
        threshold=threshold or min(provenance.threshold or THRESHOLD, answers),
        classes=classes,
        bank=found.digest,
        rows=rows,
        carried=_carried(wanted.votes, rows),
        identifier=identifier,
    )


def _draft(store: Store, bank: Bank, draft: str | None, *, named: bool) -> Draft:
    """The draft that has the panels. Raises as `draft_again`."""
    if draft is not None:
        try:
            return read_draft(store, draft)
        except NotFound:
            if named:
                raise
    raise _not_at_hand(bank, "the draft that it was labelled on is not here")


def _not_at_hand(bank: Bank, why: str) -> Conflict:
    return Conflict(
        f"The pictures of bank {bank.name!r} are not at hand: {why}.",
        field="draft",
        remedy=f"Draw them from a data set of such pictures: discover with encoder 'bank:{bank.name}', `again` and "
        f"grouping {bank.manifest.grouping!r}, and name that draft (cuecheck annotate from-bank {bank.name} --dataset "
        "FILE does both).",
    )


def _require_network(store: Store, bank: Bank, draft: Draft, rows: Collection[Row]) -> None:
    """Features of another network, and components of another class or data set, are others under the same index."""
    if draft.weights_digest != bank.manifest.files[WEIGHTS]:
        raise Invalid(f"The draft is of another network than bank {bank.name!r}.", field="draft")
    width = bank.manifest.backbone.maps[0]
    own = [feature - width for _, feature in rows if feature >= width]
    if not own:
        return
    ours = Components.load(bank.path / COMPONENTS)
    try:
        with store.local_copy(f"{draft_folder(draft.id)}/components.safetensors") as path:
            theirs = Components.load(path)
    except NotFound as error:
        raise _not_at_hand(bank, "the draft has no components") from error
    if max(own) >= len(theirs.directions) or not torch.equal(ours.directions[own], theirs.directions[own]):
        raise _not_at_hand(bank, "the draft has other components")


def _carried(votes: BankVotes | None, rows: Collection[Row]) -> Import | None:
    """The answers on these rows, as a session keeps answers that came as a file."""
    if votes is None:
        return None
    wanted = set(rows)
    return Import(
        answers=tuple(
            ImportedAnswer(
                panel=f"{one.class_index}-{one.feature_index}",
                answer=Answer(
                    annotator=one.annotator,
                    kind=one.kind,
                    confidence=None if one.confidence is None else round(one.confidence),
                    reason=one.reason[:LONGEST_REASON],
                    seconds=one.seconds,
                ),
            )
            for one in votes.answers
            if one.row in wanted
        )
    )
