"""Annotations without HTTP: several processes, a Redis that forgets, a store that fails, and the published counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.annotation import Invitation, annotator_id
from jobs.annotation_assignment import owed, start
from jobs.annotation_index import stored
from jobs.annotation_invitations import Invitations
from jobs.annotation_results import results
from jobs.annotation_votes import CSV, export_csv, import_votes
from jobs.annotations import Annotations
from jobs.errors import Conflict, Invalid, NotFound, Unavailable
from jobs.queue import JobQueue
from jobs.redis_server import RedisServer
from jobs.settings import Settings
from jobs.store import Store
from models.published.salient_counts import count
from models.published.salient_imagenet import read_release
from tests.jobs.labelled import of_queue, said, write_draft
from tests.models import salient_csv

CLASSES = ("ant", "bee", "cat")
PAIRS = [(c, 3 * c + k, k + 1) for c in range(3) for k in range(3)]


@pytest.fixture
def queue(settings: Settings) -> JobQueue:
    """A store and an empty Redis with a draft of nine panels."""
    queue = JobQueue(settings)
    write_draft(queue.store, PAIRS, CLASSES)
    return queue


@pytest.fixture
def annotations(queue: JobQueue) -> Annotations:
    """As one process holds them."""
    return of_queue(queue)


@pytest.fixture
def annotation(annotations: Annotations) -> str:
    """Two answers a panel."""
    return annotations.create("b1" * 16, answers_per_panel=2, threshold=1).id


def votes(annotations: Annotations, annotation: str) -> dict[str, dict[str, str]]:
    """Kind by panel and annotator's name."""
    with annotations.reading(annotation) as index:
        return {
            panel: {answer.annotator: answer.kind for answer in given.values()}
            for panel, given in index.answers.items()
            if given
        }


def invite(annotations: Annotations, annotation: str, name: str) -> Invitation:
    return annotations.invite(annotation, name, 24)[0]


# --- Several processes, and what they keep


def test_what_one_process_takes_another_knows(annotations: Annotations, annotation: str, queue: JobQueue) -> None:
    other = of_queue(JobQueue(queue.settings))
    ada = invite(annotations, annotation, "Ada")
    assert votes(other, annotation) == {}
    annotations.answer(ada, "0-0", said(ada))
    assert votes(other, annotation) == {"0-0": {"Ada": "main_object"}}
    other.answer(ada, "0-0", said(ada, "background"))
    assert votes(annotations, annotation) == {"0-0": {"Ada": "background"}}
    other.answer(ada, "0-0", None)
    assert votes(annotations, annotation) == votes(other, annotation) == {}
    other.change(annotation, lambda record: {"state": "closed"})
    with pytest.raises(Conflict, match="closed"):
        annotations.answer(ada, "0-0", said(ada))


def test_a_redis_that_forgot_everything_is_filled_from_the_store(
    annotations: Annotations, annotation: str, queue: JobQueue
) -> None:
    ada, ben = (invite(annotations, annotation, name) for name in ("Ada", "Ben"))
    annotations.answer(ada, "0-0", said(ada))
    annotations.answer(ben, "0-0", said(ben, "background"))
    annotations.answer(ben, "1-3", said(ben))
    annotations.answer(ben, "1-3", None)
    before = votes(annotations, annotation)
    for knower in (annotations, of_queue(queue)):
        queue.ledger.client.flushall()
        assert votes(knower, annotation) == before == {"0-0": {"Ada": "main_object", "Ben": "background"}}
        with knower.reading(annotation) as index:
            assert {one.name for one in index.annotators.values()} == {"Ada", "Ben"}


def test_nothing_is_lost_while_redis_forgets(annotations: Annotations, annotation: str, queue: JobQueue) -> None:
    people = [invite(annotations, annotation, f"P{number}") for number in range(4)]
    processes = [of_queue(JobQueue(queue.settings)) for _ in range(2)]
    panels = [f"{c}-{f}" for c, f, _ in PAIRS]

    def work(number: int) -> None:
        for panel in panels:
            processes[number % 2].answer(people[number], panel, said(people[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        queue.ledger.client.delete(f"cuecheck:annotation:{annotation}")
    for thread in threads:
        thread.join()
    expected = {panel: {f"P{number}": "main_object" for number in range(4)} for panel in panels}
    for knower in (annotations, *processes, of_queue(queue)):
        assert votes(knower, annotation) == expected


def test_two_tabs_of_one_person_end_with_what_the_store_has(
    annotations: Annotations, annotation: str, queue: JobQueue
) -> None:
    ada = invite(annotations, annotation, "Ada")
    tabs = [of_queue(JobQueue(queue.settings)) for _ in range(2)]
    kinds = ("main_object", "background")

    def click(number: int) -> None:
        for _ in range(10):
            tabs[number].answer(ada, "0-0", said(ada, kinds[number]))  # type: ignore[arg-type]

    threads = [threading.Thread(target=click, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = votes(annotations, annotation)
    queue.ledger.client.flushall()
    assert votes(of_queue(queue), annotation) == seen
    assert len(seen["0-0"]) == 1


def test_one_file_holds_one_annotators_word_on_one_panel(annotations: Annotations, annotation: str) -> None:
    ada = invite(annotations, annotation, "Ada")
    for kind in ("main_object", "background", "background"):
        annotations.answer(ada, "0-0", said(ada, kind))  # type: ignore[arg-type]
    folder = f"annotations/{annotation}/answers/{annotator_id('Ada')}"
    assert list(annotations.store.list(folder)) == ["0-0.json"]
    changes = [change for change in stored(annotations.store, annotation) if change.what == "answer"]
    assert [(change.key, change.content["kind"]) for change in changes] == [
        (f"{annotator_id('Ada')}/0-0", "background")
    ]


# --- What fails in mid-vote


class Failing(Store):
    """A store whose disk is gone at the moment."""

    broken = False

    def write_bytes(self, name: str, data: bytes) -> None:
        if self.broken:
            raise Unavailable("The store failed.")
        super().write_bytes(name, data)


def test_a_store_that_is_away_acknowledges_nothing_and_loses_nothing(queue: JobQueue, annotation: str) -> None:
    store = Failing(queue.store.url)
    annotations = Annotations(store, queue.ledger)
    ada = invite(annotations, annotation, "Ada")
    annotations.answer(ada, "0-0", said(ada))
    store.broken = True
    for change in (said(ada, "background"), None):
        with pytest.raises(Unavailable):
            annotations.answer(ada, "0-0", change)
    assert votes(annotations, annotation) == {"0-0": {"Ada": "main_object"}}
    store.broken = False
    annotations.answer(ada, "0-0", said(ada, "background"))
    assert votes(annotations, annotation) == {"0-0": {"Ada": "background"}}


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that may be stopped."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder) as server:
        yield server


def test_a_redis_that_is_away_acknowledges_nothing_and_loses_nothing(settings: Settings, mortal: RedisServer) -> None:
    queue = JobQueue(settings.model_copy(update={"redis_url": mortal.url}))
    write_draft(queue.store, PAIRS, CLASSES)
    annotations = of_queue(queue)
    annotation = annotations.create("b1" * 16, answers_per_panel=2, threshold=1).id
    ada = invite(annotations, annotation, "Ada")
    annotations.answer(ada, "0-0", said(ada))
    mortal.kill()
    with pytest.raises(Unavailable):
        annotations.answer(ada, "0-1", said(ada))
    with pytest.raises(Unavailable), annotations.reading(annotation):
        pass
    mortal.start()
    annotations.answer(ada, "0-1", said(ada))
    assert votes(annotations, annotation) == {"0-0": {"Ada": "main_object"}, "0-1": {"Ada": "main_object"}}


def test_an_answer_on_its_way_while_all_is_read_again_is_kept_or_refused(
    annotations: Annotations, annotation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is in the store, and before all are told, the owner closes for publishing."""
    ada = invite(annotations, annotation, "Ada")
    tell = annotations._tell

    def late(name: str, changes: list, *further: Any) -> None:
        monkeypatch.setattr(annotations, "_tell", tell)
        annotations.change(annotation, lambda record: {"state": "closed"}, exact=True)
        tell(name, changes, *further)

    monkeypatch.setattr(annotations, "_tell", late)
    with pytest.raises(Conflict, match="closed"):
        annotations.answer(ada, "0-0", said(ada))
    annotations.change(annotation, lambda record: {"state": "open"}, exact=True)
    assert votes(annotations, annotation) == {}


# --- Who is asked what


def test_starts_halve_the_largest_gap() -> None:
    assert [start(number, 16) for number in range(8)] == [0, 8, 4, 12, 2, 10, 6, 14]
    assert {start(number, 1) for number in range(8)} == {0}


def test_everybody_owes_what_lacks_answers_and_nobody_twice(annotations: Annotations, annotation: str) -> None:
    people = [invite(annotations, annotation, name) for name in ("Ada", "Ben", "Cleo")]
    given: dict[str, int] = {}
    left = list(people)
    while left:
        for person in list(left):
            with annotations.reading(annotation) as index:
                panel = next(owed(index, person.annotator_id), None)
            if panel is None:
                left.remove(person)
                continue
            annotations.answer(person, panel, said(person))
            given[panel] = given.get(panel, 0) + 1
    assert given == {f"{c}-{f}": 2 for c, f, _ in PAIRS}


# --- Files


def test_the_released_file_gives_the_published_counts(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.store.os.fsync", lambda _: None)  # of a thousand files that nobody needs later
    path = salient_csv.write(tmp_path / "answers.csv", salient_csv.rows())
    release = read_release(path)
    queue = JobQueue(settings)
    pairs = [(pair.class_index, pair.feature_index, pair.rank) for pair in release.pairs]
    draft = write_draft(queue.store, pairs, [f"class {index}" for index in range(1000)])
    annotations = of_queue(queue)
    annotation = annotations.create(draft).id
    taken = import_votes(annotations, annotation, path.read_bytes(), CSV)
    assert (taken.answers, taken.new, taken.panels, taken.annotators) == (25_000, 25_000, 5_000, 265)
    published = count(release.pairs)
    with annotations.reading(annotation) as index:
        found = results(index)
        exported = export_csv(index)
    assert (found.core, found.spurious) == (4370, 630)
    assert found.kinds == {"main_object": 4370, "background": 231, "separate_object": 296, "ambiguous": 103}
    assert (found.kappa, found.kappa_binary) == (0.5119, 0.6036)
    assert len(found.split) == published.split == 348
    assert (found.open, found.lacking) == (0, 0)
    for threshold, spurious in ((4, 455), (5, 285)):
        with annotations.reading(annotation) as index:
            assert results(index, threshold).spurious == spurious
    assert import_votes(annotations, annotation, path.read_bytes(), CSV).new == 0
    assert len(exported.splitlines()) >= 25_001


# --- Invitations


def test_a_token_is_not_kept(annotations: Annotations, annotation: str) -> None:
    invitation, token = annotations.invite(annotation, "Ada", 1)
    name = f"annotations/{annotation}/invitations/{invitation.id}.json"
    assert token.split("_", 3)[3].encode() not in annotations.store.read_bytes(name)
    assert Invitations(annotations.store).verify(token) == (invitation, None)
    assert Invitations(annotations.store).verify(token[:-1] + "!")[1] == "unknown"
    assert Invitations(annotations.store).verify(token + "A" * 10**6)[1] == "unknown"


@pytest.mark.parametrize(("name", "hours"), [("", 1), ("x" * 101, 1), ("a\x07", 1), ("Ada", 0), ("Ada", 10**6)])
def test_an_invitation_that_cannot_be_made(annotations: Annotations, annotation: str, name: str, hours: float) -> None:
    with pytest.raises(Invalid):
        annotations.invite(annotation, name, hours)


@pytest.mark.parametrize("identifier", ["0" * 12, "../keys", "", "x"])
def test_an_annotation_that_is_not_there(annotations: Annotations, identifier: str) -> None:
    with pytest.raises(NotFound), annotations.reading(identifier):
        pass
