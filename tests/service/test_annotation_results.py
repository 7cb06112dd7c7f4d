"""What owners see and do with the answers of an annotation: results, more answers, files out and in."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
import pytest
import redis

from jobs.annotation_votes import CSV, JSON
from jobs.store import Store
from models.draft import Draft
from models.vote_rows import COLUMNS
from tests.models.conftest import CLASSES
from tests.service.annotating import Session, start
from tests.service.conftest import RunningServer
from tests.service.drafts import write_draft

JOB = "a2" * 16
OTHER = "a3" * 16
PANELS = 3 * (len(CLASSES) - 1) + 1


@pytest.fixture(scope="module")
def draft(server: RunningServer) -> Draft:
    """A draft in the store of the shared service."""
    return write_draft(Store.from_settings(server.settings), JOB, CLASSES)


@pytest.fixture
def session(http: httpx.Client, draft: Draft) -> Session:
    """Three answers a panel, two of three decide."""
    return start(http, JOB, answers_per_panel=3, threshold=2)


def answered(session: Session) -> Session:
    """Three people answer three panels: all core, two to one, one to two of both kinds."""
    votes = {
        "0-0": ("main_object", "main_object", "main_object"),
        "0-1": ("main_object", "main_object", "background"),
        "1-2": ("main_object", "background", "separate_object"),
    }
    for number, name in enumerate(("Ada", "Ben Bo", "Cleo")):
        person = session.invite(name)
        for panel, kinds in votes.items():
            answer = person.answer(panel, kinds[number], reason=f'{name}: "so, it seems"\n=1', seconds=2.0 * number + 1)
            assert answer.status_code == 200, answer.text
    return session


def export(session: Session, media_type: str) -> bytes:
    answer = session.http.get(session.path("/answers"), headers={"Accept": media_type})
    assert answer.headers["Content-Type"].startswith(media_type)
    return answer.content


def take_in(session: Session, content: bytes, media_type: str = CSV) -> httpx.Response:
    return session.http.post(session.path("/answers"), content=content, headers={"Content-Type": media_type})


def rows(**changes: str) -> list[dict[str, str]]:
    """One row on panel 0-0 and one on 0-1, with some values changed in the last."""
    row = dict(zip(COLUMNS, ("7", "ant", "0", "0", "1", "background", "4.0", "grass"), strict=True))
    second = row | {"Input.feature_index": "1", "Input.feature_rank": "2"}
    return [row, second | changes]


def as_csv(content: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(content)
    return stream.getvalue().encode()


# --- Results


def test_nothing_is_decided_before_anybody_answers(session: Session) -> None:
    found = session.results()
    assert (found["core"], found["spurious"], found["open"], found["lacking"]) == (0, 0, PANELS, 3 * PANELS)
    assert found["kappa"] is None
    assert found["annotators"] == []
    assert session.panels()[0]["label"] is None


def test_the_results_are_those_of_the_votes(session: Session) -> None:
    found = answered(session).results()
    assert (found["core"], found["spurious"], found["open"]) == (2, 1, PANELS - 3)
    assert found["kinds"] == {"main_object": 2, "background": 0, "separate_object": 0, "ambiguous": 1}
    assert found["split"] == ["0-1", "1-2"]
    # By hand: agreeing pairs 1, 1/3, 0 -> 4/9; shares 6/9, 2/9, 1/9 -> 41/81.
    assert found["kappa"] == pytest.approx((4 / 9 - 41 / 81) / (40 / 81), abs=1e-4)
    assert [one["annotator"] for one in found["annotators"]] == ["Ada", "Ben Bo", "Cleo"]
    # Where one is compared, the other two must agree: Ada and Ben on the first, all on it, Cleo also on the second.
    assert [(one["compared"], one["agreement"]) for one in found["annotators"]] == [(1, 1.0), (1, 1.0), (2, 0.5)]
    assert [one["median_seconds"] for one in found["annotators"]] == [1.0, 3.0, 5.0]


def test_another_threshold_is_looked_at_before_it_is_chosen(session: Session) -> None:
    answered(session)
    looked_at = session.results(threshold=1)
    assert (looked_at["threshold"], looked_at["spurious"], looked_at["changes"]) == (1, 2, ["0-1"])
    assert [one["panel"] for one in session.panels(filter="changed", threshold=1)] == ["0-1"]
    assert session.results()["spurious"] == 1
    assert session.change(threshold=1).json()["threshold"] == 1
    assert session.results()["spurious"] == 2
    assert session.http.get(session.path("/results"), params={"threshold": 4}).json()["field"] == "threshold"


def test_panels_are_listed_with_what_was_said(session: Session) -> None:
    answered(session)
    found = {one["panel"]: one for one in session.panels(limit=2)}
    assert len(found) == PANELS
    assert found["1-2"]["votes"] == {"main_object": 1, "background": 1, "separate_object": 1}
    assert (found["1-2"]["label"], found["1-2"]["kind"], found["1-2"]["split"]) == ("spurious", "ambiguous", True)
    assert [answer["annotator"] for answer in found["1-2"]["answers"]] == ["Ada", "Ben Bo", "Cleo"]
    assert [one["panel"] for one in session.panels(filter="split")] == ["0-1", "1-2"]
    assert len(session.panels(filter="open")) == PANELS - 3
    assert session.http.get(found["0-0"]["panel_href"]).status_code == 200


def test_more_answers_are_asked_for_on_split_panels(session: Session, server: RunningServer) -> None:
    answered(session)
    body = {"panels": ["0-1", "1-2"], "answers": 2}
    headers = {"Idempotency-Key": f"more-{session.id}"}
    for _ in range(2):
        more = session.http.post(session.path("/more"), json=body, headers=headers)
        assert more.status_code == 200, more.text
    assert {one["panel"]: one["wanted"] for one in session.panels()}["0-1"] == 5
    remembered = redis.Redis.from_url(server.settings.redis_url)
    for name in remembered.scan_iter("cuecheck:idempotency:*"):
        remembered.delete(name)  # as where the service was killed before it could remember its answer
    assert session.http.post(session.path("/more"), json=body, headers=headers).status_code == 200
    assert {one["panel"]: one["wanted"] for one in session.panels()}["0-1"] == 5, "counted once"
    dora = session.invite("Dora")
    assert dora.get().json()["left"] == PANELS - 1, "all but the one that has its answers"
    unknown = session.http.post(session.path("/more"), json={"panels": ["7-7"]})
    assert unknown.json()["field"] == "panels"
    assert session.http.post(session.path("/more"), json={"panels": ["0-0"], "answers": 99}).status_code == 422


# --- Files


@pytest.mark.parametrize("media_type", [CSV, JSON])
def test_what_is_exported_is_imported_as_it_was(session: Session, media_type: str) -> None:
    content = export(answered(session), media_type)
    again = take_in(session, content, media_type).json()
    assert (again["answers"], again["new"]) == (9, 0), "all of it is there already"
    other = start(session.http, JOB, answers_per_panel=3, threshold=2)
    taken = take_in(other, content, media_type)
    assert taken.status_code == 200, taken.text
    assert (taken.json()["new"], taken.json()["panels"], taken.json()["annotators"]) == (9, 3, 3)
    assert export(other, media_type) == content
    ignored = {"annotators"}
    here, there = session.results(), other.results()
    assert {k: v for k, v in here.items() if k not in ignored} == {k: v for k, v in there.items() if k not in ignored}


def test_the_csv_has_the_released_columns(session: Session) -> None:
    found = list(csv.DictReader(io.StringIO(export(answered(session), CSV).decode(), newline="")))
    assert tuple(found[0]) == COLUMNS
    assert len(found) == 9
    first = found[0]
    assert (first["Input.wordnet_id"], first["Input.class_index"], first["Input.feature_rank"]) == ("ant", "0", "1")
    assert (first["Answer.main"], first["Answer.confidence"]) == ("main_object", "4.0")
    assert '"so, it seems"\n=1' in first["Answer.reasons"]
    assert all(row["WorkerId"].isalnum() for row in found)


def test_an_imported_annotator_who_is_invited_goes_on(session: Session) -> None:
    assert take_in(session, as_csv(rows())).status_code == 200
    seven = session.invite("7")
    assert seven.get().json()["done"] == 2
    assert seven.undo("0-0").json()["done"] == 1
    assert take_in(session, as_csv(rows())).status_code == 200
    assert seven.get().json()["done"] == 1, "what was taken back stays so"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"Input.feature_index": "9"}, "line 3, column Input.feature_index"),
        ({"Input.class_index": "77"}, "line 3, column Input.feature_index"),
        ({"Input.feature_rank": "1"}, "line 3, column Input.feature_rank"),
        ({"Input.feature_rank": "x"}, "line 3, column Input.feature_rank"),
        ({"Input.wordnet_id": "bee"}, "line 3, column Input.wordnet_id"),
        ({"Answer.main": "sky"}, "line 3, column Answer.main"),
        ({"WorkerId": ""}, "line 3, column WorkerId"),
        ({"Input.feature_index": "0", "Input.feature_rank": "1"}, "line 3, column WorkerId: 7 answers twice"),
        ({"Answer.reasons": "x" * 2001}, "column Answer.reasons"),
        ({"WorkerId": "x" * 101}, "column WorkerId"),
    ],
)
def test_a_csv_with_a_wrong_row_is_refused_whole(session: Session, change: dict[str, str], where: str) -> None:
    refused = take_in(session, as_csv(rows(**change)))
    assert refused.status_code == 422, refused.text
    assert where in refused.json()["detail"]
    assert session.show()["answers"] == 0


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"", CSV, 422),
        (as_csv(rows(), COLUMNS[1:]), CSV, 422),
        (as_csv(rows())[:-9], CSV, 422),
        (b"\xff\xfe\x00", CSV, 422),
        (as_csv(rows()) + b"1,2\n", CSV, 422),
        (b"{", JSON, 422),
        (b"[]", JSON, 422),
        (as_csv(rows()), "application/zip", 415),
        (b"x" * (33 * 2**20), CSV, 413),
    ],
)
def test_a_file_that_is_none_is_refused(session: Session, content: bytes, media_type: str, status: int) -> None:
    assert take_in(session, content, media_type).status_code == status
    assert session.show()["answers"] == 0


def test_answers_on_another_draft_are_refused(session: Session, server: RunningServer) -> None:
    write_draft(Store.from_settings(server.settings), OTHER, ["x", "y", "z"])
    other = start(session.http, OTHER, answers_per_panel=1, threshold=1)
    other.invite("Ada").answer("0-0")
    by_draft = take_in(session, export(other, JSON), JSON)
    assert by_draft.json()["field"] == "draft"
    by_class = take_in(session, export(other, CSV), CSV)
    assert "line 2, column Input.wordnet_id" in by_class.json()["detail"]
    assert session.show()["answers"] == 0


def test_an_import_replaces_nothing_that_somebody_said(session: Session) -> None:
    session.invite("7").answer("0-0", "main_object", reason="It is the ant.")
    refused = take_in(session, as_csv(rows()))
    assert refused.status_code == 422
    assert "otherwise" in refused.json()["detail"]
    assert session.show()["answers"] == 1


def test_script_is_text_wherever_it_comes_back(http: httpx.Client, server: RunningServer) -> None:
    job = "a4" * 16
    name = "<img src=x onerror=alert(1)>"
    write_draft(Store.from_settings(server.settings), job, [name, "b"])
    session = start(http, job, answers_per_panel=1, threshold=1, title=name)
    person = session.invite(name)
    person.answer("0-0", reason=name)
    for answer in (http.get(session.path("/panels")), person.get("/next", panel="0-0"), http.get(session.path())):
        assert answer.headers["Content-Type"].startswith("application/json")
    found: dict[str, Any] = session.panels()[0]
    assert found["class_name"] == found["answers"][0]["reason"] == found["answers"][0]["annotator"] == name
