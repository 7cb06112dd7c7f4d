"""Annotations: sessions in which people label the panels of a draft. What owners and annotators do with them."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock

from pydantic import BaseModel

from jobs.annotation import ID, MOST_ANSWERS, AnnotationRecord, Answer, Import, Invitation, ValidationAnswer, folder
from jobs.annotation_index import TAKEN_BACK, AnnotationIndex, read_record
from jobs.annotation_invitations import Invitations
from jobs.annotation_log import AnnotationLog, Change, What
from jobs.annotation_panels import make_panels, read_draft
from jobs.annotation_validation import read_rows
from jobs.errors import Conflict, Invalid, NotFound
from jobs.ledger import Ledger
from jobs.store import Store
from models.bank_votes import Row

BANK = "bank"
"""Among the imports of an annotation: the answers kept with the bank whose rows are labelled again."""

KEPT = 64
"""Annotations that one process has in memory."""


class Annotations:
    """All annotations of a store; its methods may be called from several threads, in several processes.

    Every method raises `NotFound` for an annotation that is not there, and `Unavailable` while the store or Redis
    cannot be reached: then nothing was acknowledged, and the same call may be made again.
    """

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self.store = store
        self.invitations = Invitations(store)
        self._ledger = ledger
        self._known: OrderedDict[str, AnnotationIndex] = OrderedDict()
        self._lock = Lock()

    # --- Sessions

    def create(
        self,
        draft: str,
        *,
        title: str = "",
        answers_per_panel: int = 5,
        threshold: int = 3,
        classes: list[str] | None = None,
        bank: str | None = None,
        rows: Collection[Row] | None = None,
        carried: Import | None = None,
        identifier: str | None = None,
    ) -> AnnotationRecord:
        """Start a session on a draft.

        Args:
            draft: id of the discovery that left it.
            title: what it is called; after the encoder where it is empty.
            answers_per_panel: people asked about each panel.
            threshold: of so many answers, those against the main object that make a feature spurious.
            classes: names of the draft's classes to label; all where left out.
            bank: digest of the bank whose rows are labelled again, where they are.
            rows: class and feature index of those to label; all where left out.
            carried: answers that it begins with.
            identifier: its id, 12 hexadecimal digits: one that is there already is returned as it is.

        Raises:
            NotFound: there is no such draft. Invalid: nothing to label in it, or a figure out of range.
        """
        identifier = identifier or secrets.token_hex(6)
        if self.store.exists(f"{folder(identifier)}/annotation.json"):
            return read_record(self.store, identifier)
        found = read_draft(self.store, draft)
        panels = make_panels(self.store, found, classes, rows)
        record = checked(
            AnnotationRecord,
            id=identifier,
            title=title.strip() or found.encoder.title or found.encoder.name,
            draft=draft,
            bank=bank,
            answers_per_panel=answers_per_panel,
            threshold=threshold,
            created=datetime.now(UTC),
        )
        self.store.write_bytes(f"{folder(identifier)}/panels.json", panels.model_dump_json().encode())
        if carried is not None:
            self.store.write_bytes(f"{folder(identifier)}/imports/{BANK}.json", carried.model_dump_json().encode())
        self._write(record)
        return record

    def ids(self) -> list[str]:
        """Ids of all annotations, the newest first."""
        known = [name for name in self.store.list("annotations") if ID.fullmatch(name)]
        records = []
        for name in known:
            try:
                records.append(read_record(self.store, name))
            except NotFound:  # it is being created
                continue
        return [one.id for one in sorted(records, key=lambda one: (one.created, one.id), reverse=True)]

    @contextmanager
    def reading(self, annotation: str, *, fresh: bool = True) -> Iterator[AnnotationIndex]:
        """An annotation as of now, which does not change within the block.

        Args:
            annotation: its id.
            fresh: False where it will do as this thread last saw or changed it: nobody is asked then.
        """
        index = self._index(annotation)
        if fresh or index.token is None:
            index.follow(self.store, self.log(annotation))
        with index.lock:
            if index.record.stage == "validation" and index.rows is None:
                drawn = read_rows(self.store, annotation)
                if drawn is not None:
                    index.draw({row.panel: row for row in drawn.rows})
            yield index

    def change(
        self, annotation: str, update: Callable[[AnnotationRecord], Mapping[str, object]], *, exact: bool = False
    ) -> AnnotationRecord:
        """Change the session itself; one owner after the other.

        Args:
            annotation: its id.
            update: what becomes of some fields, given the record as it is; may raise to leave all as it is.
            exact: whether no answer may be on its way any more when this returns: those that come later are refused
                if the record now says so, and everything is read from the store again.

        Raises:
            Conflict: somebody else does so at this moment. Invalid: the fields do not go together.
        """
        log = self.log(annotation)
        with log.alone("record"):
            before = read_record(self.store, self._named(annotation))
            fields = update(before)
            if not fields:
                return before
            record = checked(AnnotationRecord, **(before.model_dump() | dict(fields)))
            self._write(record)
            if exact:
                log.drop()
            self._tell(annotation, [Change("record", "", record.model_dump(mode="json"))])
        return record

    def want_more(self, annotation: str, panels: Iterable[str], answers: int) -> AnnotationRecord:
        """Ask for further answers on some panels."""
        with self.reading(annotation) as index:
            unknown = [panel for panel in panels if panel not in index.panels]
        if unknown:
            raise Invalid(f"The annotation has no panel {unknown[0][:80]!r}.", field="panels")

        def update(record: AnnotationRecord) -> Mapping[str, object]:
            require_open(record, "labels")
            more = dict(record.more)
            for panel in dict.fromkeys(panels):
                more[panel] = more.get(panel, 0) + answers
                if record.answers_per_panel + more[panel] > MOST_ANSWERS:
                    raise Invalid(f"Panel {panel} would be asked for more than {MOST_ANSWERS} times.", field="answers")
            return {"more": more}

        return self.change(annotation, update)

    # --- Invitations

    def invite(
        self, annotation: str, annotator: str, hours: float, seed: bytes | None = None
    ) -> tuple[Invitation, str]:
        """Invite somebody; arguments, record and token as of `Invitations.create`."""
        require_unpublished(read_record(self.store, self._named(annotation)))
        invitation, token = self.invitations.create(annotation, annotator, hours, seed)
        self._tell(annotation, [Change("invitation", invitation.id, invitation.model_dump(mode="json"))])
        return invitation, token

    # --- Answers

    def answer(self, invitation: Invitation, panel: str, answer: Answer | None) -> None:
        """Take an answer on a panel, in place of one given before; None takes it back.

        Raises:
            NotFound: the annotation has no such panel.
            Conflict: it is not open, or in its second round.
        """
        self._give(invitation, panel, "answer", answer)

    def validate(self, invitation: Invitation, panel: str, given: ValidationAnswer | None) -> None:
        """The same in the second round."""
        self._give(invitation, panel, "validation", given)

    def _give(self, invitation: Invitation, panel: str, what: What, given: BaseModel | None) -> None:
        annotation, person = invitation.annotation, invitation.annotator_id
        log = self.log(annotation)
        name = f"{folder(annotation)}/{what}s/{person}/{panel}.json"
        # Of one person's two tabs one writes after the other: what the store has last is what all are told last.
        with log.alone(f"answer:{person}"):
            with self.reading(annotation) as index:
                self._require(index, panel, what)
                token = index.token
                kept = (index.mine if what == "answer" else index.validated).get(person, {}).get(panel)
            if given is None and kept is None:
                return
            self.store.write_bytes(name, given.model_dump_json().encode() if given else TAKEN_BACK)
            change = Change(what, f"{person}/{panel}", given.model_dump(mode="json") if given else None)

            def still_open(index: AnnotationIndex) -> None:
                try:
                    self._require(index, panel, what)
                except Conflict:
                    self.store.write_bytes(name, kept.model_dump_json().encode() if kept else TAKEN_BACK)
                    raise

            self._tell(annotation, [change], token, still_open)

    @staticmethod
    def _require(index: AnnotationIndex, panel: str, what: What) -> None:
        if panel not in index.panels:
            raise NotFound(f"The annotation has no panel {panel[:80]!r}.", field="panel")
        require_open(index.record, "labels" if what == "answer" else "validation")

    def add_import(self, annotation: str, digest: str, content: bytes) -> None:
        """Take in answers that came as one file, which were checked; the same ones again are the same file."""
        with self.log(annotation).alone("import"):
            with self.reading(annotation) as index:
                require_open(index.record, "labels")
            self.store.write_bytes(f"{folder(annotation)}/imports/{digest}.json", content)
            self._tell(annotation, [Change("import", digest)])

    def log(self, annotation: str) -> AnnotationLog:
        """What says all processes what changed."""
        return AnnotationLog(self._ledger, self._named(annotation))

    # --- Inside

    def _index(self, annotation: str) -> AnnotationIndex:
        with self._lock:
            known = self._known.get(annotation)
        if known is None:
            known = AnnotationIndex.open(self.store, self._named(annotation))
        with self._lock:
            known = self._known.setdefault(annotation, known)
            self._known.move_to_end(annotation)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return known

    def _tell(
        self,
        annotation: str,
        changes: list[Change],
        token: str | None = None,
        again: Callable[[AnnotationIndex], None] | None = None,
    ) -> None:
        """Let all processes know what the store has now.

        Args:
            annotation: its id.
            changes: what changed.
            token: of the log as it was when the change was made; None where any will do.
            again: called where the log was made anew meanwhile, and so has the change or must not have it.
        """
        log, index = self.log(annotation), self._index(annotation)
        token = token or index.token
        while token is None or not index.push(self.store, log, token, changes):
            token = index.follow(self.store, log)
            if again is not None:
                again(index)

    def _named(self, annotation: str) -> str:
        if ID.fullmatch(annotation) is None:
            raise NotFound(f"There is no annotation {annotation[:80]!r}.", field="annotation")
        return annotation

    def _write(self, record: AnnotationRecord) -> None:
        self.store.write_bytes(f"{folder(record.id)}/annotation.json", record.model_dump_json(indent=1).encode())


def checked(model: type[AnnotationRecord], **fields: object) -> AnnotationRecord:
    """A record of these fields. Raises `Invalid` where they do not go together."""
    try:
        return model.model_validate(fields)
    except ValueError as error:
        first = error.errors()[0]  # type: ignore[attr-defined]
        field = str(first["loc"][0]) if first["loc"] else "threshold"
        raise Invalid(f"{field}: {first['msg'].removeprefix('Value error, ')}.", field=field) from error


def require_unpublished(record: AnnotationRecord) -> None:
    """Raises `Conflict` where a bank was made of it already."""
    if record.published is not None:
        raise Conflict(
            f"The annotation is published as bank {record.published.name!r}; nothing of it changes any more.",
            field="annotation",
            remedy="Draft again from the bank.",
        )


def require_open(record: AnnotationRecord, stage: str) -> None:
    """Raises `Conflict` where an annotation takes no answers of this round."""
    require_unpublished(record)
    if record.state != "open":
        raise Conflict("The annotation is closed.", field="annotation", remedy="Ask its owner to open it again.")
    if record.stage != stage:
        rounds = {"labels": "The first round is over.", "validation": "The second round has not begun."}
        raise Conflict(rounds[stage], field="annotation", remedy="Ask for the next panel.")
