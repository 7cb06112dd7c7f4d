"""Annotations over HTTP: owners start them and invite, annotators answer, and nothing that was acknowledged is lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.annotation_invitations import REMEMBER_SECONDS
from jobs.redis_client import connect
from jobs.store import Store
from models.draft import Draft
from service.problems import TYPE_PREFIX
from tests.models.conftest import CLASSES
from tests.service.annotating import Session, start
from tests.service.conftest import RunningServer, wait_for
from tests.service.drafts import write_draft

JOB = "a1" * 16
PANELS = 3 * (len(CLASSES) - 1) + 1


@pytest.fixture(scope="module")
def draft(server: RunningServer) -> Draft:
    """A draft in the store of the shared service."""
    return write_draft(Store.from_settings(server.settings), JOB, CLASSES)


@pytest.fixture
def session(http: httpx.Client, draft: Draft) -> Session:
    """An annotation of its own for a test: two answers a panel."""
    return start(http, JOB, title="insects", answers_per_panel=2, threshold=1)


def test_an_annotation_has_a_panel_for_every_candidate(session: Session) -> None:
    shown = session.show()
    assert shown["panels"] == PANELS
    assert (shown["title"], shown["state"], shown["stage"]) == ("insects", "open", "labels")
    assert (shown["answers"], shown["complete"], shown["annotators"]) == (0, 0, 0)
    assert session.id in [one["id"] for one in session.http.get("/v1/annotations").json()["items"]]


def test_an_annotator_sees_a_panel_and_answers_it(session: Session) -> None:
    ada = session.invite("Ada")
    seen = ada.get().json()
    assert (seen["annotator"], seen["done"], seen["left"], seen["panels"]) == ("Ada", 0, PANELS, PANELS)
    panel = ada.next()
    assert panel is not None
    assert panel["rows"] == ["picture", "heat map", "attack"]
    for href in (panel["panel_href"], panel["class"]["strip_href"]):
        assert session.http.get(href, headers=ada.headers).headers["Content-Type"] == "image/jpeg"
        assert session.http.get(href).status_code == 401
    given = ada.answer(panel["panel"], "background", reason="It lies on the grass.")
    assert given.json() == {"done": 1, "left": PANELS - 1}
    following = ada.next(after=panel["panel"])
    assert following is not None
    assert following["panel"] != panel["panel"]
    assert following["previous"] == panel["panel"]
    again = ada.next(panel=panel["panel"])
    assert again is not None
    said = {"kind": "background", "confidence": 4, "reason": "It lies on the grass.", "seconds": 5.5}
    assert again["mine"] == said


def test_a_second_link_for_the_same_name_goes_on_where_the_first_left_off(session: Session) -> None:
    first = session.invite("Ada")
    panel = first.next()
    assert panel is not None
    first.answer(panel["panel"])
    second = session.invite("Ada")
    assert second.get().json()["done"] == 1
    assert session.show()["annotators"] == 1


def test_an_answer_sent_twice_counts_once_and_can_be_taken_back(session: Session) -> None:
    ada = session.invite("Ada")
    for _ in range(2):
        assert ada.answer("0-0").json()["done"] == 1
    assert ada.answer("0-0", "background").json()["done"] == 1
    assert session.show()["answers"] == 1
    for _ in range(2):
        assert ada.undo("0-0").json()["done"] == 0
    assert session.show()["answers"] == 0
    seen = ada.next(panel="0-0")
    assert seen is not None
    assert "mine" not in seen


def test_everybody_gets_what_still_lacks_answers(session: Session) -> None:
    people = [session.invite(name) for name in ("Ada", "Ben", "Cleo")]
    firsts = {(person.next() or {})["panel"] for person in people}
    assert len(firsts) == 3, "they start at different places"
    left = list(people)
    while left:
        for person in list(left):
            panel = person.next()
            if panel is None:
                left.remove(person)
            else:
                assert person.answer(panel["panel"]).status_code == 200
    shown = session.show()
    assert (shown["answers"], shown["complete"]) == (2 * PANELS, PANELS)


def test_two_people_at_once_never_lose_an_answer(session: Session, server: RunningServer) -> None:
    people = [session.invite(name) for name in ("Ada", "Ben")]
    panels = [panel["panel"] for panel in session.panels()]
    failures: list[Any] = []

    def work(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as own:
            person = people[number]
            for panel in panels if number else reversed(panels):
                body = {"kind": "main_object", "confidence": 3, "reason": f"{person.name} on {panel}"}
                answer = own.put(f"/v1/label/answers/{panel}", json=body, headers=person.headers)
                if answer.status_code != 200:
                    failures.append(answer.text)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for panel in session.panels():
        assert sorted(answer["reason"] for answer in panel["answers"]) == [
            f"{name} on {panel['panel']}" for name in ("Ada", "Ben")
        ]


def test_what_was_acknowledged_is_in_the_store(session: Session, server: RunningServer) -> None:
    ada = session.invite("Ada")
    ada.answer("0-1", reason="<script>alert(1)</script>")
    folder = Path(server.settings.data_dir) / "store" / "annotations" / session.id / "answers"
    (file,) = folder.glob("*/0-1.json")
    assert "<script>alert(1)</script>" in file.read_text(), "kept as text"


# --- Bad input


@pytest.mark.parametrize("panel", ["9-9", "0-999999", "x", "..%2Fx", "0-0.json"])
def test_an_answer_for_an_unknown_panel(session: Session, panel: str) -> None:
    assert session.invite("Ada").answer(panel).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 2001}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ({"confidence": 0}, "confidence"),
        ({"confidence": 6}, "confidence"),
        ({"kind": "sky"}, "kind"),
        ({"seconds": -1}, "seconds"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_an_answer_that_cannot_be_used(session: Session, change: dict[str, Any], field: str) -> None:
    answer = session.invite("Ada").answer("0-0", **change)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert session.show()["answers"] == 0


def test_a_revoked_link_opens_nothing_and_its_answers_stay(session: Session) -> None:
    ada = session.invite("Ada")
    ada.answer("0-0")
    assert session.http.delete(session.path(f"/invitations/{ada.invitation}")).status_code == 204
    wait_for(lambda: ada.answer("0-1").status_code == 401, REMEMBER_SECONDS + 2)
    assert "revoked" in ada.get().json()["detail"]
    assert session.show()["answers"] == 1


def test_an_expired_link_opens_nothing(session: Session) -> None:
    ada = session.invite("Ada", hours=1e-9)
    refused = ada.answer("0-0")
    assert refused.status_code == 401
    assert "expired" in refused.json()["detail"]
    assert "Basic" not in refused.headers["WWW-Authenticate"], "no browser asks an annotator for a password"


@pytest.mark.parametrize(
    "token",
    [
        "cci_",
        "cci_000000000000_000000000000_" + "A" * 43,
        "cci_" + "A" * 20_000,
        "cck_000000000000_" + "A" * 43,
        "nobody",
    ],
)
def test_an_invented_link_opens_nothing(session: Session, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert session.http.get("/v1/label", headers=headers).status_code == 401
    assert session.http.get("/v1/label/next").status_code == 401


def test_a_link_opens_its_own_annotation_and_nothing_else(session: Session) -> None:
    ada, other = session.invite("Ada"), start(session.http, JOB, title="another")
    foreign = other.invite("Ada")
    foreign.answer("0-0")
    assert session.show()["answers"] == 0
    mixed = f"cci_{other.id}_{ada.token.split('_', 2)[2]}"
    assert session.http.get("/v1/label", headers={"Authorization": f"Bearer {mixed}"}).status_code == 401
    for path in ("/v1/annotations", session.path(), "/v1/banks", "/v1/discoveries", "/metrics"):
        refused = session.http.get(path, headers=ada.headers)
        assert refused.status_code == 403, path
        assert refused.json()["type"] == TYPE_PREFIX + "forbidden"


def test_an_answer_that_comes_late(session: Session) -> None:
    ada = session.invite("Ada")
    assert session.change(state="closed").json()["state"] == "closed"
    assert ada.answer("0-0").status_code == 409
    assert ada.get("/next").status_code == 409
    assert session.change(state="open").status_code == 200
    assert ada.answer("0-0").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"draft": "0" * 32}, 404, "job"),
        ({"draft": "../../keys"}, 404, "job"),
        ({"bank": "nobody"}, 404, "bank"),
        ({"bank": "planted"}, 422, "draft"),
        ({"threshold": 6}, 422, "threshold"),
        ({"threshold": 0}, 422, "threshold"),
        ({"answers_per_panel": 0}, 422, "answers_per_panel"),
        ({"classes": ["wolf"]}, 422, "classes"),
        ({"classes": []}, 422, "classes"),
        ({"title": "x" * 201}, 422, "title"),
    ],
)
def test_an_annotation_that_cannot_be_started(
    http: httpx.Client, draft: Draft, body: dict[str, Any], status: int, field: str
) -> None:
    answer = http.post("/v1/annotations", json={"draft": JOB} | body)
    assert answer.status_code == status, answer.text
    assert answer.json()["field"] == field


def test_the_same_request_makes_one_annotation(http: httpx.Client, draft: Draft) -> None:
    headers = {"Idempotency-Key": "annotation-1"}
    first = http.post("/v1/annotations", json={"draft": JOB, "title": "once"}, headers=headers)
    again = http.post("/v1/annotations", json={"draft": JOB, "title": "once"}, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == f"/v1/annotations/{first.json()['id']}"
    assert http.post("/v1/annotations", json={"draft": JOB}, headers=headers).status_code == 422


def test_the_same_request_makes_one_invitation_and_keeps_no_token(session: Session, redis_url: str) -> None:
    def invite(**body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": f"invitation-{session.id}"}
        return session.http.post(session.path("/invitations"), json={"annotator": "Ada"} | body, headers=headers)

    first, again = invite(), invite()
    assert first.status_code == 201, first.text
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.json(), again.headers["Location"]) == (first.json(), first.headers["Location"])
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "no-store"
    token = again.json()["token"]
    assert session.http.get("/v1/label", headers={"Authorization": f"Bearer {token}"}).json()["annotator"] == "Ada"
    assert len(session.http.get(session.path("/invitations")).json()["items"]) == 1
    assert invite(hours=3).json()["type"].endswith("key-reused")
    client = connect(redis_url, text=True)
    kept = [client.get(name) for name in client.scan_iter("cuecheck:idempotency:*")]
    assert kept
    assert not any(token[-43:] in (value or "") for value in kept)
