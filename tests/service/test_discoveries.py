"""Discoveries over HTTP: submitted once, followed, and their drafts read class by class and panel by panel."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from PIL import Image

from jobs.discovery_request import DiscoveryRequest
from jobs.records import JobState
from jobs.store import Store
from models.draft import Draft, DraftClass, Source
from service.client import Client
from service.drafts import GROUPINGS, SOURCES
from service.problems import TYPE_PREFIX
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer
from tests.service.drafts import TILE, write_draft, write_job
from tests.service.material import archive, upload_dataset

JOB = "d1" * 16
FAILED = "d2" * 16


@pytest.fixture(scope="module")
def draft(server: RunningServer) -> Draft:
    """A draft in the store of the shared service, and beside it a discovery that has failed."""
    store = Store.from_settings(server.settings)
    request = DiscoveryRequest(dataset="0" * 64, encoder="bank:tiny")
    write_job(store, FAILED, request, JobState.FAILED, message="The disk is full.")
    return write_draft(store, JOB, CLASSES)


def path(rest: str = "", job: str = JOB) -> str:
    """Below a discovery."""
    return f"/v1/discoveries/{job}{rest}"


# --- Submitting


def test_the_same_inputs_are_the_same_discovery(http: httpx.Client) -> None:
    body = {"dataset": upload_dataset(http, archive(2, seed=70)), "encoder": "bank:tiny", "seed": 1}
    answer = http.post("/v1/discoveries", json=body, headers={"Idempotency-Key": "discovery-1"})
    assert answer.status_code == 202, answer.text
    record = answer.json()
    assert record["kind"] == "discovery"
    assert answer.headers["Location"] == f"/v1/jobs/{record['id']}"
    again = http.post("/v1/discoveries", json=body, headers={"Idempotency-Key": "discovery-1"})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert http.post("/v1/discoveries", json=body).json()["id"] == record["id"]
    assert http.post("/v1/discoveries", json=body | {"seed": 2}).json()["id"] != record["id"]
    reused = http.post("/v1/discoveries", json=body | {"seed": 3}, headers={"Idempotency-Key": "discovery-1"})
    assert reused.json()["type"] == TYPE_PREFIX + "key-reused"


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"dataset": "0" * 64}, 404, "dataset"),
        ({"encoder": "bank:nowhere"}, 404, "encoder"),
        ({"encoder": "0" * 64}, 404, "encoder"),
        ({"classes": ["wolf"]}, 422, "classes"),
        ({"class_map": {"ant": "wolf"}}, 422, "class_map"),
        ({"grouping": "none"}, 422, "grouping"),
        ({"channels": -1}, 422, "channels"),
        ({"colour": "red"}, 422, "colour"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    http: httpx.Client, change: dict[str, Any], status: int, field: str
) -> None:
    body = {"dataset": upload_dataset(http, archive(2, seed=70)), "encoder": "bank:tiny"}
    answer = http.post("/v1/discoveries", json=body | change)
    assert answer.status_code == status, answer.text
    assert answer.json()["field"] == field


# --- Reading


def test_a_discovery_is_listed_and_read_by_its_job_id(http: httpx.Client, draft: Draft) -> None:
    record = http.get(path()).json()
    assert record["state"] == "succeeded"
    assert record == http.get(f"/v1/jobs/{JOB}").json()
    listed = http.get("/v1/discoveries").json()["items"]
    assert JOB in [found["id"] for found in listed]
    assert {found["kind"] for found in listed} == {"discovery"}
    assert http.get(f"/v1/audits/{JOB}").status_code == 404


def test_the_draft_is_served_as_it_was_written(http: httpx.Client, draft: Draft) -> None:
    answer = http.get(path("/draft"))
    assert answer.headers["Content-Type"] == "application/json"
    assert Draft.model_validate_json(answer.content) == draft


def test_classes_come_in_pages(http: httpx.Client, draft: Draft) -> None:
    names, cursor = [], None
    while True:
        page = http.get(path("/draft/classes"), params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= 2
        names += [found["name"] for found in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert names == list(CLASSES)
    assert http.get(path("/draft/classes"), params={"cursor": "ant"}).json()["field"] == "cursor"


def test_a_class_is_found_by_name_and_by_index(http: httpx.Client, draft: Draft) -> None:
    by_name = http.get(path("/draft/classes/bee"))
    assert by_name.status_code == 200
    assert by_name.json() == http.get(path("/draft/classes/1")).json()
    assert http.get(path("/draft/classes/wolf")).status_code == 404
    assert http.get(path(f"/draft/classes/{len(CLASSES)}")).status_code == 404
    first = by_name.json()["candidates"][0]
    assert first["tops"] == [0, 2]
    assert first["tops_names"] == ["ant", "cat"]


def test_a_name_goes_before_an_index(http: httpx.Client, server: RunningServer) -> None:
    job = "d3" * 16
    write_draft(Store.from_settings(server.settings), job, ["1", "0", "a/b?c"])
    assert http.get(path("/draft/classes/1", job)).json()["index"] == 0
    with Client(server.url) as client:
        assert client.draft_class(job, "2").name == "a/b?c"


def test_every_picture_that_is_named_is_there(http: httpx.Client, draft: Draft) -> None:
    for name in CLASSES:
        found = http.get(path(f"/draft/classes/{name}")).json()
        sizes = {found["strip_href"]: (6 * TILE, TILE)}
        for one in found["candidates"]:
            columns = len(one["exemplars"]) + (one["prototype"] is not None)
            sizes[one["panel_href"]] = (columns * TILE, 3 * TILE)
        for href, size in sizes.items():
            answer = http.get(href)
            assert answer.headers["Content-Type"] == "image/jpeg"
            assert "max-age" in answer.headers["Cache-Control"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert Image.open(io.BytesIO(answer.content)).size == size


def test_part_of_a_panel(http: httpx.Client, draft: Draft) -> None:
    href = http.get(path("/draft/classes/ant")).json()["candidates"][0]["panel_href"]
    whole = http.get(href).content
    answer = http.get(href, headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, whole[10:20])


@pytest.mark.parametrize(
    "rest",
    [
        "/draft/panels/0-999.jpg",
        "/draft/panels/0.jpg",
        "/draft/panels/0-0.png",
        "/draft/panels/..%2Fdraft.json",
        "/draft/panels/..%2Fstrips%2F0.jpg",
        "/draft/panels/%2e%2e",
        "/draft/panels/0-0.jpg%00",
        "/draft/strips/0-0.jpg",
        "/draft/strips/-1.jpg",
        "/draft/classes/..%2F..%2Fdraft",
    ],
)
def test_no_file_but_the_pictures(http: httpx.Client, draft: Draft, rest: str) -> None:
    answer = http.get(path(rest))
    assert answer.status_code == 404
    assert answer.json()["type"] == TYPE_PREFIX + "not-found"


def test_a_discovery_without_a_draft_says_why(http: httpx.Client, draft: Draft) -> None:
    for rest in ("/draft", "/draft/classes", "/draft/classes/ant", "/draft/panels/0-0.jpg", "/draft/strips/0.jpg"):
        answer = http.get(path(rest, FAILED))
        assert answer.status_code == 409
        assert "The disk is full." in answer.json()["detail"]


def test_an_unknown_discovery(http: httpx.Client) -> None:
    for rest in ("", "/draft", "/draft/classes", "/draft/classes/0", "/draft/panels/0-0.jpg", "/draft/strips/0.jpg"):
        assert http.get(path(rest, "0" * 32)).status_code == 404


def test_what_is_offered_is_listed(http: httpx.Client) -> None:
    offered = http.get("/v1/capabilities").json()["discoveries"]
    assert set(offered["sources"]) == set(Source.__args__) == set(SOURCES)  # type: ignore[attr-defined]
    assert set(offered["groupings"]) == set(GROUPINGS)
    for grouping in offered["groupings"]:
        DiscoveryRequest.model_validate({"dataset": "0" * 64, "encoder": "bank:tiny", "grouping": grouping})
    assert DiscoveryRequest.model_validate({"dataset": "0", "encoder": "x"} | offered["defaults"]).channels == 5


def test_the_client_reads_a_draft(server: RunningServer, draft: Draft) -> None:
    with Client(server.url) as client:
        assert client.draft(JOB) == draft
        assert tuple(client.draft_classes(JOB)) == draft.classes
        found = client.draft_class(JOB, "bee")
        stored = DraftClass.model_validate(found.model_dump(include=set(DraftClass.model_fields) - {"candidates"}))
        assert stored.name == "bee"
        assert client.draft_picture(found.candidates[0].panel_href).startswith(b"\xff\xd8")
        assert JOB in [job.id for job in client.discoveries()]
