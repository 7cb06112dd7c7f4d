"""Drafts and annotations for the tests of this room, without a service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from jobs.annotation import Answer, Invitation, ValidationAnswer
from jobs.annotations import Annotations
from jobs.queue import JobQueue
from jobs.store import Store
from models.agreement import Place
from models.bank import Statistics
from models.draft import Candidate, Draft, DraftClass, DraftExemplar, DraftSummary
from models.encoder import EncoderSpec
from tests.models.conftest import manifest

DRAFT = "b1" * 16


def write_draft(store: Store, pairs: Iterable[tuple[int, int, int]], classes: Sequence[str], draft: str = DRAFT) -> str:
    """Put a draft of these (class, feature, rank) into a store; nobody could draw its panels. Returns its id."""
    by_class: dict[int, list[Candidate]] = {}
    for class_index, feature, rank in pairs:
        by_class.setdefault(class_index, []).append(
            Candidate(
                class_index=class_index,
                feature_index=feature,
                rank=rank,
                sources=("importance",),
                importance=1.0 / rank,
                statistics=Statistics(images=40, mean=0.5, std=0.25, valid_from=1.0, valid_to=3.5),
                exemplars=tuple(
                    DraftExemplar(sample=f"{row}.jpg", row=row, activation=3.5 - row / 2, attacked=4.0)
                    for row in range(3)
                ),
                panel=f"panels/{class_index}-{feature}.jpg",
                tile=32,
            )
        )
    for index, candidates in by_class.items():
        described = DraftClass(index=index, name=classes[index], pictures=40, group=40, candidates=tuple(candidates))
        store.write_bytes(f"discoveries/{draft}/classes/{index}.json", described.model_dump_json().encode())
    whole = Draft(
        id=draft,
        code_version="0" * 64,
        encoder=EncoderSpec(name="tiny", classes=tuple(classes), backbone=manifest().backbone),
        encoder_id="bank:tiny",
        weights_digest="2" * 64,
        dataset="0" * 64,
        request={"exemplars": 3},
        grouping="label",
        pictures=40,
        classes=tuple(
            DraftSummary(index=index, name=classes[index], group=40, candidates=len(candidates))
            for index, candidates in by_class.items()
        ),
    )
    store.write_bytes(f"discoveries/{draft}/draft.json", whole.model_dump_json().encode())
    return draft


def of_queue(queue: JobQueue) -> Annotations:
    """What another process of the service would hold."""
    return Annotations(queue.store, queue.ledger)


def said(invitation: Invitation, kind: Place = "main_object", reason: str = "because") -> Answer:
    """An answer of somebody's."""
    return Answer(
        annotator=invitation.annotator, kind=kind, confidence=4, reason=reason, seconds=3.0, at=datetime.now(UTC)
    )


def compared(invitation: Invitation, same: bool, different: tuple[int, ...] = ()) -> ValidationAnswer:
    """An answer of somebody's in the second round."""
    return ValidationAnswer(
        annotator=invitation.annotator, same=same, different=different, seconds=2.0, at=datetime.now(UTC)
    )
