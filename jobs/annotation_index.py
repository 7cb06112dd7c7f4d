"""One annotation as a process knows it: its panels, and who answered what, brought up to date by the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from threading import RLock
from typing import Any, TypeVar

from pydantic import BaseModel

from jobs.annotation import (
    AnnotationRecord,
    Answer,
    Import,
    Invitation,
    Panel,
    PanelClass,
    Panels,
    Row,
    ValidationAnswer,
    annotator_id,
    folder,
)
from jobs.annotation_log import AnnotationLog, Change
from jobs.errors import NotFound
from jobs.store import Store
from models.agreement import tally
from models.bank import Votes

READERS = 16
TAKEN_BACK = b"null"
"""What is written in place of an answer that was undone: a file that is gone could not say so."""

Kept = TypeVar("Kept", bound=BaseModel)


@dataclass(frozen=True)
class Annotator:
    """Somebody who was invited or whose answers were imported.

    Attributes:
        joined: when they were first invited; None of imports.
    """

    id: str
    name: str
    joined: datetime | None = None


@dataclass
class AnnotationIndex:
    """What is known of one annotation. Whoever reads it holds `lock`.

    Attributes:
        record: the session as its owner last left it.
        classes: by index. panels: by id, in the order in which they are worked through.
        place: of each panel in that order, from 0.
        annotators: by id.
        answers: by panel, then by annotator.
        mine: the same by annotator, then by panel.
        validations, validated: both of the second round.
        rows: of the second round by panel, as soon as its pictures are drawn.
        lock: held while it is read or changed.
    """

    record: AnnotationRecord
    classes: Mapping[int, PanelClass]
    panels: Mapping[str, Panel]
    place: Mapping[str, int]
    annotators: dict[str, Annotator] = field(default_factory=dict)
    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)
    mine: dict[str, dict[str, Answer]] = field(default_factory=dict)
    validations: dict[str, dict[str, ValidationAnswer]] = field(default_factory=dict)
    validated: dict[str, dict[str, ValidationAnswer]] = field(default_factory=dict)
    rows: Mapping[str, Row] | None = None
    lock: RLock = field(default_factory=RLock)
    _typed: set[tuple[str, str]] = field(default_factory=set)
    _token: str | None = None
    _position: int = 0

    @classmethod
    def open(cls, store: Store, annotation: str) -> AnnotationIndex:
        """Read the session and its panels; answers come with `follow`. Raises `NotFound`."""
        record = read_record(store, annotation)
        panels = Panels.model_validate_json(store.read_bytes(f"{folder(annotation)}/panels.json"))
        return cls(
            record=record,
            classes={one.index: one for one in panels.classes},
            panels={panel.id: panel for panel in panels.panels},
            place={panel.id: number for number, panel in enumerate(panels.panels)},
        )

    # --- Keeping up

    def follow(self, store: Store, log: AnnotationLog) -> str:
        """Take in what changed since the last call, in this process or another.

        Returns:
            The log's token, with which a change may be added.
        """
        with self.lock:
            while True:
                token, changes = log.since(self._token, self._position)
                if token is None:
                    log.fill(lambda: stored(store, self.record.id))
                    self._token = None
                    continue
                if token != self._token:
                    self._forget()
                    self._token = token
                for change in changes:
                    self._apply(store, change)
                self._position += len(changes)
                return token

    def _forget(self) -> None:
        self._position = 0
        self.annotators.clear()
        self._typed.clear()
        for known in (self.answers, self.mine, self.validations, self.validated):
            known.clear()

    def _apply(self, store: Store, change: Change) -> None:
        match change.what:
            case "record":
                self.record = AnnotationRecord.model_validate(change.content)
            case "invitation":
                invitation = Invitation.model_validate(change.content)
                known = self.annotators.get(invitation.annotator_id)
                joined = min(known.joined, invitation.created) if known and known.joined else invitation.created
                self._meet(Annotator(invitation.annotator_id, invitation.annotator, joined))
            case "answer":
                annotator, panel = change.key.split("/")
                self._typed.add((annotator, panel))
                self._take(annotator, panel, None if change.content is None else Answer.model_validate(change.content))
            case "validation":
                annotator, panel = change.key.split("/")
                given = None if change.content is None else ValidationAnswer.model_validate(change.content)
                _put(self.validations, self.validated, annotator, panel, given)
                if given is not None:
                    self._know(annotator, given.annotator)
            case "import":
                name = f"{folder(self.record.id)}/imports/{change.key}.json"
                for one in Import.model_validate_json(store.read_bytes(name)).answers:
                    annotator = annotator_id(one.answer.annotator)
                    if (annotator, one.panel) not in self._typed:
                        self._take(annotator, one.panel, one.answer)

    def _take(self, annotator: str, panel: str, answer: Answer | None) -> None:
        if panel not in self.panels:
            return
        _put(self.answers, self.mine, annotator, panel, answer)
        if answer is not None:
            self._know(annotator, answer.annotator)

    def _know(self, annotator: str, name: str) -> None:
        if annotator not in self.annotators:
            self._meet(Annotator(annotator, name))

    def _meet(self, annotator: Annotator) -> None:
        self.annotators[annotator.id] = annotator

    # --- Reading

    def votes(self, panel: str) -> Votes:
        """The answers on a panel, counted."""
        return tally(answer.kind for answer in self.answers.get(panel, {}).values())

    def given(self, panel: str) -> int:
        """How many answers a panel has."""
        return len(self.answers.get(panel, ()))

    def lacking(self) -> dict[str, int]:
        """Panels that lack answers, in their order, and how many each lacks."""
        found = {}
        for panel in self.panels:
            missing = self.record.wanted(panel) - self.given(panel)
            if missing > 0:
                found[panel] = missing
        return found

    def answered(self) -> int:
        """All answers of the first round."""
        return sum(map(len, self.answers.values()))


def read_record(store: Store, annotation: str) -> AnnotationRecord:
    """An annotation as its owner last left it. Raises `NotFound`."""
    try:
        return AnnotationRecord.model_validate_json(store.read_bytes(f"{folder(annotation)}/annotation.json"))
    except NotFound as error:
        raise NotFound(f"There is no annotation {annotation[:80]!r}.", field="annotation") from error


def stored(store: Store, annotation: str) -> Iterator[Change]:
    """Everything that the store has of an annotation: imports first, so that what was typed in later stands."""
    root = folder(annotation)
    yield Change("record", "", read_record(store, annotation).model_dump(mode="json"))
    for name, invitation in _read(store, f"{root}/invitations", Invitation):
        yield Change("invitation", name, _content(invitation))
    for name in store.list(f"{root}/imports"):
        yield Change("import", name.removesuffix(".json"))
    for person in store.list(f"{root}/answers"):
        for name, answer in _read(store, f"{root}/answers/{person}", Answer):
            yield Change("answer", f"{person}/{name}", _content(answer))
    for person in store.list(f"{root}/validations"):
        for name, given in _read(store, f"{root}/validations/{person}", ValidationAnswer):
            yield Change("validation", f"{person}/{name}", _content(given))


def _content(kept: BaseModel | None) -> Any:
    return None if kept is None else kept.model_dump(mode="json")


def _read(store: Store, where: str, model: type[Kept]) -> list[tuple[str, Kept | None]]:
    """The files of a folder by name without its ending; None of those that say that something was taken back."""

    def read(name: str) -> tuple[str, Kept | None]:
        content = store.read_bytes(f"{where}/{name}")
        return name.removesuffix(".json"), None if content == TAKEN_BACK else model.model_validate_json(content)

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read, store.list(where)))


def _put(
    by_panel: dict[str, dict[str, Kept]],
    by_annotator: dict[str, dict[str, Kept]],
    annotator: str,
    panel: str,
    given: Kept | None,
) -> None:
    if given is None:
        by_panel.get(panel, {}).pop(annotator, None)
        by_annotator.get(annotator, {}).pop(panel, None)
    else:
        by_panel.setdefault(panel, {})[annotator] = given
        by_annotator.setdefault(annotator, {})[panel] = given
