"""One annotation as a process knows it: its panels, and who answered what, brought up to date by the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock, RLock
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
from jobs.annotation_tally import Tally
from jobs.errors import NotFound
from jobs.store import Store
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
        order, place: their ids in that order, and where in it each is, from 0.
        pictures: files of its panels and of its classes' examples, below the draft's folder.
        annotators: by id.
        answers: by panel, then by annotator.
        mine: the same by annotator, then by panel.
        validations, validated: both of the second round.
        rows: of the second round by panel, as soon as its pictures are drawn.
        token: of the log that all this is as of; None before the first `follow`.
        lock: held while it is read or changed.
    """

    record: AnnotationRecord
    classes: Mapping[int, PanelClass]
    panels: Mapping[str, Panel]
    order: Sequence[str]
    place: Mapping[str, int]
    pictures: frozenset[str]
    annotators: dict[str, Annotator] = field(default_factory=dict)
    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)
    mine: dict[str, dict[str, Answer]] = field(default_factory=dict)
    validations: dict[str, dict[str, ValidationAnswer]] = field(default_factory=dict)
    validated: dict[str, dict[str, ValidationAnswer]] = field(default_factory=dict)
    rows: Mapping[str, Row] | None = None
    token: str | None = None
    lock: RLock = field(default_factory=RLock)
    _typed: set[tuple[str, str]] = field(default_factory=set)
    _position: int = 0
    _asking: Lock = field(default_factory=Lock)
    _asked: int = 0
    _told: int = 0
    _settled: set[str] | None = None
    _tally: Tally | None = None

    @classmethod
    def open(cls, store: Store, annotation: str) -> AnnotationIndex:
        """Read the session and its panels; answers come with `follow`. Raises `NotFound`."""
        record = read_record(store, annotation)
        panels = Panels.model_validate_json(store.read_bytes(f"{folder(annotation)}/panels.json"))
        return cls(
            record=record,
            classes={one.index: one for one in panels.classes},
            panels={panel.id: panel for panel in panels.panels},
            order=[panel.id for panel in panels.panels],
            place={panel.id: number for number, panel in enumerate(panels.panels)},
            pictures=frozenset(
                [panel.file for panel in panels.panels] + [one.strip for one in panels.classes if one.strip is not None]
            ),
        )

    # --- Keeping up

    def follow(self, store: Store, log: AnnotationLog) -> str:
        """Take in what has changed up to this call, in this process or another.

        Of several threads at once one asks: those that came before it began need not do so again.

        Returns:
            The log's token, with which a change may be added.
        """
        came = self._asked
        with self._asking:
            if self.token is None or self._told <= came:
                self._asked += 1
                self.token = self._ask(store, log)
                self._told = self._asked
            return self.token

    def push(self, store: Store, log: AnnotationLog, token: str, changes: Sequence[Change]) -> bool:
        """Add changes to the log, and take them in; False where it has another token by now, and nothing was added."""
        with self.lock:
            if self.token != token:
                return False
            position = self._position
        taken = log.push(token, position, changes)
        if taken is None:
            return False
        self._take_in(store, token, position, taken)
        return True

    def _ask(self, store: Store, log: AnnotationLog) -> str:
        while True:
            known, position = self.token, self._position
            token, changes = log.since(known, position)
            if token is not None:
                break
            log.fill(lambda: stored(store, self.record.id))
        with self.lock:
            if token != known:
                self._forget()
                self.token, position = token, 0
            self._take_in(store, token, position, changes)
        return token

    def _take_in(self, store: Store, token: str, position: int, changes: Sequence[Change]) -> None:
        """Changes of the log from `position` on, some of which another thread may have taken in meanwhile."""
        with self.lock:
            if token != self.token:
                return  # a later list, which has them too
            for change in changes[self._position - position :]:
                self._apply(store, change)
                self._position += 1

    def _forget(self) -> None:
        self._position = 0
        self._settled = self._tally = None
        self.annotators.clear()
        self._typed.clear()
        for known in (self.answers, self.mine, self.validations, self.validated):
            known.clear()

    def draw(self, rows: Mapping[str, Row]) -> None:
        """Take in that the second round's pictures are there."""
        self.rows = rows
        self._settled = None

    def _apply(self, store: Store, change: Change) -> None:
        match change.what:
            case "record":
                self.record = AnnotationRecord.model_validate(change.content)
                self._settled = None
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
                self._settle(panel)
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
        self._settle(panel)
        if self._tally is not None:
            self._tally.touch(panel)
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
        return self.tally().votes(panel)

    def tally(self) -> Tally:
        """All answers of the first round, counted."""
        if self._tally is None:
            self._tally = Tally(self.answers)
        return self._tally

    def settled(self) -> set[str]:
        """The panels that want no further answer in the present round, whoever would give it; not to be changed."""
        if self._settled is None:
            self._settled = {panel for panel in self.order if not self._is_wanted(panel)}
        return self._settled

    def _is_wanted(self, panel: str) -> bool:
        if self.record.stage == "labels":
            return self.given(panel) < self.record.wanted(panel)
        return panel in (self.rows or ()) and len(self.validations.get(panel, ())) < self.record.validators

    def _settle(self, panel: str) -> None:
        if self._settled is None:
            return
        if self._is_wanted(panel):
            self._settled.discard(panel)
        else:
            self._settled.add(panel)

    def given(self, panel: str) -> int:
        """How many answers a panel has."""
        return len(self.answers.get(panel, ()))

    def lacking(self) -> dict[str, int]:
        """Panels that lack answers, in their order, and how many each lacks."""
        each, more = self.record.answers_per_panel, self.record.more
        missing = {panel: each + more.get(panel, 0) - len(self.answers.get(panel, ())) for panel in self.order}
        return {panel: number for panel, number in missing.items() if number > 0}

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
