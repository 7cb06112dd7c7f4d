"""From a real discovery through both rounds to a bank: what is drawn, what is bounded, who wins, what is refused."""

from __future__ import annotations

import io
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.annotation import Invitation, Rows
from jobs.annotation_assignment import owed
from jobs.annotation_panels import read_draft
from jobs.annotation_publication import PublishRequest, publish
from jobs.annotation_redraft import draft_again
from jobs.annotation_rounds import open_validation
from jobs.annotation_validation import read_rows, verdict
from jobs.annotations import Annotations
from jobs.audit import AuditRequest
from jobs.discovery_request import DiscoveryRequest
from jobs.errors import Conflict, Invalid
from jobs.queue import JobQueue
from jobs.records import JobState
from jobs.redis_server import RedisServer
from jobs.settings import Settings
from jobs.validation_job import choose
from models.bank import Bank
from models.bank_diff import diff
from models.bank_votes import read_votes
from models.draft import DraftClass
from tests.jobs.installation import Installation, work
from tests.jobs.labelled import compared, of_queue, said
from tests.jobs.test_discovery import CAT, Plain

WANTED = PublishRequest(name="pets", title="Cats and dogs", licence="CC0-1.0", notes="The first one is the lawn.")


@pytest.fixture(scope="module")
def discovered(
    furnished: tuple[Path, AuditRequest], redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder of a discovery of three channels and a component of two classes, to be copied, and its id."""
    data, audit = furnished
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("discovered") / "data", redis_url=redis_server.url, device="cpu", threads=1
    )
    shutil.copytree(data, settings.data_dir)
    request = DiscoveryRequest(
        dataset=audit.dataset,
        encoder="bank:tiny",
        grouping="label",
        channels=3,
        components=1,
        component_candidates=2,
        exemplars=4,
        attack_steps=2,
        prototype_steps=2,
        tile=32,
    )
    queue = JobQueue(settings)
    queue.ledger.client.flushall()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.environment().items():
            patch.setenv(name, value)
        job = queue.submit(request).id
        work(queue)
    assert queue.get(job).state is JobState.SUCCEEDED
    return settings.data_dir / "store" / "discoveries" / job, job


@pytest.fixture
def draft(in_process: Installation, discovered: tuple[Path, str]) -> str:
    """That discovery in the test's own store."""
    folder, job = discovered
    shutil.copytree(folder, in_process.settings.data_dir / "store" / "discoveries" / job)
    return job


@pytest.fixture
def annotations(in_process: Installation) -> Annotations:
    """As the service holds them."""
    return of_queue(in_process.queue)


def label(annotations: Annotations, annotation: str, people: list[Invitation], skip: int = 0) -> list[str]:
    """Everybody answers all panels but the last few: of each class the first is background for all."""
    with annotations.reading(annotation) as index:
        panels = list(index.panels.values())
    for panel in panels[: len(panels) - skip]:
        for person in people:
            kind = "background" if panel.rank == 1 else "main_object"
            annotations.answer(person, panel.id, said(person, kind, f"{person.annotator}'s reason"))  # type: ignore[arg-type]
    return [panel.id for panel in panels]


def start(
    annotations: Annotations, draft: str, names: tuple[str, ...] = ("Ada", "Ben")
) -> tuple[str, list[Invitation]]:
    record = annotations.create(draft, answers_per_panel=len(names), threshold=2 if len(names) > 1 else 1)
    return record.id, [annotations.invite(record.id, name, 24)[0] for name in names]


def candidates(annotations: Annotations, draft: str) -> dict[str, Any]:
    found = {}
    for name in annotations.store.list(f"discoveries/{draft}/classes"):
        described = DraftClass.model_validate_json(annotations.store.read_bytes(f"discoveries/{draft}/classes/{name}"))
        found |= {f"{one.class_index}-{one.feature_index}": one for one in described.candidates}
    return found


# --- Publishing


def test_labels_votes_and_figures_become_a_bank(in_process: Installation, annotations: Annotations, draft: str) -> None:
    annotation, people = start(annotations, draft)
    panels = label(annotations, annotation, people)
    bank = publish(annotations, in_process.settings, annotation, WANTED)
    assert (bank.name, bank.manifest.version, bank.manifest.licence) == ("pets", 1, "CC0-1.0")
    assert sorted(f"{f.class_index}-{f.feature_index}" for f in bank.manifest.features) == sorted(panels)
    known = candidates(annotations, draft)
    for feature in bank.manifest.features:
        one = known[f"{feature.class_index}-{feature.feature_index}"]
        assert feature.label == ("spurious" if one.rank == 1 else "core")
        assert feature.kind == ("background" if one.rank == 1 else "main_object")
        assert (feature.importance, feature.component, feature.statistics) == (
            one.importance,
            one.component,
            one.statistics,
        ), "without a second round the range is discovery's"
    kept = read_votes(bank)
    assert kept is not None
    assert len(kept.answers) == 2 * len(panels)
    assert {answer.reason for answer in kept.answers} == {"Ada's reason", "Ben's reason"}
    assert not any("Ada" in answer.annotator for answer in kept.answers)
    provenance = bank.card["provenance"]
    assert (provenance["threshold"], provenance["of"], provenance["draft"]) == (2, 2, draft)
    assert (provenance["annotators"], provenance["answers"]) == (2, 2 * len(panels))
    assert "validated" not in provenance
    assert bank.card["notes"] == "The first one is the lawn."
    assert bank.card["encoder"]["card"] == read_draft(annotations.store, draft).encoder.card
    backbone = bank.backbone()
    pictures = torch.zeros(1, 3, 96, 96, dtype=torch.uint8)
    assert backbone.forward(pictures).phi.shape[1] == bank.features_per_picture
    with annotations.reading(annotation) as index:
        assert index.record.published is not None
        assert index.record.published.digest == bank.digest


def test_nothing_changes_after_publishing(in_process: Installation, annotations: Annotations, draft: str) -> None:
    annotation, people = start(annotations, draft)
    (first, *_) = label(annotations, annotation, people)
    publish(annotations, in_process.settings, annotation, WANTED)
    for change in (
        lambda: annotations.answer(people[0], first, said(people[0])),
        lambda: annotations.answer(people[0], first, None),
        lambda: annotations.want_more(annotation, [first], 1),
        lambda: annotations.invite(annotation, "Cleo", 1),
        lambda: publish(annotations, in_process.settings, annotation, WANTED),
        lambda: open_validation(annotations, in_process.queue, annotation),
    ):
        with pytest.raises(Conflict, match="published as bank 'pets'"):
            change()


def test_the_name_of_a_bank_of_another_network_is_refused_and_its_own_gets_a_next_version(
    in_process: Installation, annotations: Annotations, draft: str
) -> None:
    annotation, people = start(annotations, draft)
    label(annotations, annotation, people)
    with pytest.raises(Conflict, match="another network"):
        publish(annotations, in_process.settings, annotation, WANTED.model_copy(update={"name": "planted"}))
    with annotations.reading(annotation) as index:
        assert index.record.state == "open"
    first = publish(annotations, in_process.settings, annotation, WANTED)
    again, people = start(annotations, draft)
    label(annotations, again, people)
    second = publish(annotations, in_process.settings, again, WANTED)
    assert (second.manifest.version, second.manifest.parent) == (2, first.digest)


def test_too_few_votes_are_refused_and_counted(in_process: Installation, annotations: Annotations, draft: str) -> None:
    annotation, people = start(annotations, draft)
    panels = label(annotations, annotation, people, skip=2)
    with pytest.raises(Conflict, match=rf"4 answers are lacking, on 2 of {len(panels)} panels"):
        publish(annotations, in_process.settings, annotation, WANTED)
    with pytest.raises(Conflict, match="4 answers of the first round are lacking"):
        open_validation(annotations, in_process.queue, annotation)
    annotations.answer(people[0], panels[-1], said(people[0]))  # it is as open as before
    with pytest.raises(Invalid, match="threshold"):
        publish(annotations, in_process.settings, annotation, WANTED.model_copy(update={"threshold": 3}))


def test_of_two_owners_at_once_exactly_one_wins(in_process: Installation, annotations: Annotations, draft: str) -> None:
    annotation, people = start(annotations, draft)
    label(annotations, annotation, people)
    ended: list[Bank | Conflict] = []

    def owner(process: Annotations) -> None:
        try:
            ended.append(publish(process, in_process.settings, annotation, WANTED))
        except Conflict as error:
            ended.append(error)

    threads = [threading.Thread(target=owner, args=(of_queue(in_process.queue),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(end).__name__ for end in ended) == ["Bank", "Conflict"]


def test_a_publication_that_fails_leaves_all_as_it_was(
    in_process: Installation, annotations: Annotations, draft: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotation, people = start(annotations, draft)
    (first, *_) = label(annotations, annotation, people)

    def failing(*arguments: object, **named: object) -> Bank:
        raise Conflict("Somebody else published it.")

    monkeypatch.setattr("jobs.annotation_publication.publish_bank", failing)
    with pytest.raises(Conflict, match="Somebody else"):
        publish(annotations, in_process.settings, annotation, WANTED)
    annotations.answer(people[0], first, said(people[0]))
    monkeypatch.undo()


# --- Drafted again


def test_a_published_bank_is_drafted_again_with_its_answers_and_gets_a_next_version(
    in_process: Installation, annotations: Annotations, draft: str
) -> None:
    annotation, people = start(annotations, draft)
    panels = label(annotations, annotation, people)
    before = publish(annotations, in_process.settings, annotation, WANTED)
    again = draft_again(annotations, in_process.settings, "pets").id
    with annotations.reading(again) as index:
        assert (index.record.bank, index.record.draft) == (before.digest, draft)
        assert (index.record.threshold, index.record.answers_per_panel) == (2, 2)
        assert list(index.panels) == panels
        votes = {(f.class_index, f.feature_index): f.votes for f in before.manifest.features}
        assert {(p.class_index, p.feature_index): index.votes(p.id) for p in index.panels.values()} == votes
        assert not index.lacking()
    ada, cleo = (annotations.invite(again, name, 24)[0] for name in ("Ada", "Cleo"))
    changed, asked = panels[0], panels[1]
    annotations.answer(ada, changed, said(ada, "main_object"))
    annotations.want_more(again, [asked], 1)
    with annotations.reading(again) as index:
        assert list(owed(index, cleo.annotator_id)) == [asked]
        assert list(owed(index, ada.annotator_id)) == [], "she is the Ada who answered all of it before"
    annotations.answer(cleo, asked, said(cleo, "background"))
    after = publish(annotations, in_process.settings, again, WANTED)
    assert (after.manifest.version, after.manifest.parent) == (2, before.digest)
    provenance = after.card["provenance"]
    assert (provenance["edit"], provenance["sources"], provenance["annotators"]) == ("relabel", [before.digest], 3)
    found = diff(before, after)
    assert {f"{row.class_index}-{row.feature_index}" for row in found.rows} == {changed, asked}
    assert next(row for row in found.rows if f"{row.class_index}-{row.feature_index}" == changed).label == "core"
    assert after.manifest.exemplars == before.manifest.exemplars
    late = draft_again(annotations, in_process.settings, before.digest).id
    with pytest.raises(Conflict, match="no longer"):
        publish(annotations, in_process.settings, late, WANTED)


def test_panels_that_are_not_at_hand_are_drawn_anew_from_a_data_set(
    in_process: Installation, annotations: Annotations, draft: str
) -> None:
    annotation, people = start(annotations, draft)
    panels = label(annotations, annotation, people)
    bank = publish(annotations, in_process.settings, annotation, WANTED)
    known = candidates(annotations, draft)
    annotations.store.delete(f"discoveries/{draft}")
    with pytest.raises(Conflict, match="not at hand"):
        draft_again(annotations, in_process.settings, "pets")
    asked = DiscoveryRequest(
        dataset=in_process.request.dataset,
        encoder="bank:pets",
        grouping="label",
        again=True,
        exemplars=4,
        attack_steps=2,
        prototype_steps=2,
        tile=32,
    )
    for wrong, field in (({"grouping": "both"}, "grouping"), ({"components": 1}, "components")):
        with pytest.raises(Invalid) as refused:
            in_process.queue.submit(asked.model_copy(update=wrong))
        assert refused.value.field == field
    job = in_process.queue.submit(asked)
    work(in_process.queue)
    assert in_process.state(job.id) is JobState.SUCCEEDED
    drawn = candidates(annotations, job.id)
    assert drawn.keys() == set(panels)
    for panel, one in drawn.items():
        assert [shown.sample for shown in one.exemplars] == [shown.sample for shown in known[panel].exemplars]
        assert one.statistics == known[panel].statistics
        assert (one.prototype is None) == (known[panel].prototype is None)
    again = draft_again(annotations, in_process.settings, bank.digest, draft=job.id, classes=[bank.classes[CAT]])
    with annotations.reading(again.id) as index:
        assert {panel.class_index for panel in index.panels.values()} == {CAT}
    assert publish(annotations, in_process.settings, again.id, WANTED).manifest.version == 2


# --- The second round


def test_groups_are_the_ends_and_the_middle_of_the_top_fifth() -> None:
    values = np.random.default_rng(0).permutation(100).astype(float)
    rows = np.arange(1000, 1100)
    found = choose(rows, values, 5)
    shown = {name: [values[row - 1000] for row in group] for name, group in found.groups.items()}
    assert shown["highest"] == [99, 98, 97, 96, 95]
    assert shown["middle"] == [92, 91, 90, 89, 88]
    assert shown["lowest"] == [84, 83, 82, 81, 80]
    assert (found.group, found.top, found.lowest) == (100, 20, 80)


@pytest.mark.parametrize("number", range(1, 16))
def test_small_classes_have_small_groups(number: int) -> None:
    found = choose(np.arange(number), np.arange(number, dtype=float), 5)
    sizes = {len(group) for group in found.groups.values()}
    assert sizes == {1}
    assert found.lowest == found.groups["lowest"][-1]


@pytest.mark.parametrize(
    ("same", "all_ticked", "expected"),
    [
        ((5, 0), 0, True),
        ((4, 1), 0, True),
        ((3, 2), 0, False),
        ((5, 0), 1, True),
        ((5, 0), 2, False),
        ((1, 0), 0, True),
    ],
)
def test_a_row_is_valid_where_four_fifths_say_so(same: tuple[int, int], all_ticked: int, expected: bool) -> None:
    people = [Invitation.model_construct(annotator=f"P{number}") for number in range(sum(same))]
    given = [
        compared(person, number < same[0], tuple(range(15)) if number < all_ticked else ())
        for number, person in enumerate(people)
    ]
    assert verdict(given, 15) is expected


@pytest.fixture
def second_round(in_process: Installation, annotations: Annotations, draft: str) -> tuple[str, list[Invitation], Rows]:
    """An annotation in its second round, its pictures drawn."""
    annotation, people = start(annotations, draft)
    label(annotations, annotation, people)
    record = open_validation(annotations, in_process.queue, annotation, annotators=2)
    assert record.validation_job is not None
    assert read_rows(annotations.store, annotation) is None
    work(in_process.queue)
    job = in_process.queue.get(record.validation_job)
    assert job.state is JobState.SUCCEEDED, job.message
    assert job.done == job.total
    rows = read_rows(annotations.store, annotation)
    assert rows is not None
    return annotation, people, rows


def test_the_groups_are_what_a_plain_look_finds(
    in_process: Installation, annotations: Annotations, second_round: tuple[str, list[Invitation], Rows]
) -> None:
    annotation, _, rows = second_round
    with annotations.reading(annotation) as index:
        assert [row.panel for row in rows.rows] == list(index.panels)
    plain = Plain(in_process)
    own = plain.labels == CAT
    for row in rows.rows:
        class_index, feature = map(int, row.panel.split("-"))
        if class_index != CAT or feature >= plain.phi.shape[1]:
            continue
        values = np.sort(plain.phi[own][:, feature])[::-1]
        assert (row.group, row.top, row.pictures) == (own.sum(), 26, 5)
        assert row.lowest == pytest.approx(values[25], rel=1e-4)
    for name in ("highest", "middle", "lowest"):
        content = annotations.store.read_bytes(f"annotations/{annotation}/validation/{rows.rows[0].panel}-{name}.jpg")
        assert Image.open(io.BytesIO(content)).size == (5 * rows.tile, 2 * rows.tile)


def test_a_validated_row_is_believed_as_far_as_people_looked_and_no_other(
    in_process: Installation,
    annotations: Annotations,
    draft: str,
    second_round: tuple[str, list[Invitation], Rows],
) -> None:
    annotation, people, rows = second_round
    with pytest.raises(Conflict, match="first round is over"):
        annotations.answer(people[0], rows.rows[0].panel, said(people[0]))
    with pytest.raises(Conflict, match=rf"{2 * len(rows.rows)} answers of the second round are lacking"):
        publish(annotations, in_process.settings, annotation, WANTED)
    rejected = rows.rows[1].panel
    for row in rows.rows:
        for person in people:
            annotations.validate(person, row.panel, compared(person, same=row.panel != rejected))
    bank = publish(annotations, in_process.settings, annotation, WANTED)
    known = candidates(annotations, draft)
    for feature in bank.manifest.features:
        panel = f"{feature.class_index}-{feature.feature_index}"
        row = next(row for row in rows.rows if row.panel == panel)
        seen = min(exemplar.activation for exemplar in known[panel].exemplars)
        assert feature.statistics.valid_from == pytest.approx(seen if panel == rejected else row.lowest)
    found = bank.card["provenance"]["validated"]
    assert (found["judged"], found["validated"], found["rows"]) == (len(rows.rows), len(rows.rows) - 1, len(rows.rows))
    assert found["low"] < found["share"] < found["high"]


def test_a_draft_without_its_pictures_features_has_no_second_round(
    in_process: Installation, annotations: Annotations, draft: str
) -> None:
    annotation, people = start(annotations, draft)
    label(annotations, annotation, people)
    annotations.store.delete(f"discoveries/{draft}/plan.json")
    with pytest.raises(Invalid, match="kept no features"):
        open_validation(annotations, in_process.queue, annotation)
    with annotations.reading(annotation) as index:
        assert index.record.stage == "labels"
