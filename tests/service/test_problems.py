"""Errors are problem documents: stable types, the field at fault, and nothing about the inside."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.errors import Conflict, Invalid, LimitExceeded, NotFound, Unavailable
from models.errors import BankError, UnknownClassError
from service.problems import KINDS, TYPE_PREFIX, FieldError, Problem, from_jobs_error, from_models_error
from tests.conftest import ROOT
from tests.service.conftest import RunningServer


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "kind"),
    [
        ("GET", "/nowhere", None, 404, "not-found"),
        ("DELETE", "/v1/masks", None, 405, "method-not-allowed"),
        ("POST", "/v1/keys", b"{not json", 400, "malformed"),
        ("POST", "/v1/keys", b"", 422, "invalid"),
        ("POST", "/v1/keys", b"[]", 422, "invalid"),
        ("POST", "/v1/keys", b'{"name": 3, "scopes": []}', 422, "invalid"),
        ("POST", "/v1/keys", b'{"name": "\xff"}', 400, "malformed"),
        ("POST", "/v1/audits", b"{not json", 400, "malformed"),
        ("POST", "/v1/audits", b'{"classifier": "\\ud800", "dataset": "d"}', 422, "invalid"),
        ("POST", "/v1/masks", b"{}", 422, "invalid"),
    ],
)
def test_every_fault_of_a_request_is_a_problem_document(
    http: httpx.Client, method: str, path: str, content: bytes | None, status: int, kind: str
) -> None:
    response = http.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == TYPE_PREFIX + kind
    assert problem["status"] == status
    assert problem["title"] == KINDS[kind].title
    assert problem["instance"] == response.headers["X-Request-Id"]


def test_a_broken_form_is_malformed(http: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    assert http.post("/v1/masks", content=b"--b\r\n", headers=headers).status_code == 400
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert http.post("/v1/masks", content=b"no boundary in here", headers=headers).status_code in (400, 422)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"corruption": "rain"}, "corruption: unknown corruption 'rain'; known are gaussian-noise"),
        ({"measurements": {"rain": {}}}, "measurements.rain: unknown measurement; known are ablations"),
        ({"measurements": {"ablations": {"fills": ["tar"]}}}, "measurements.ablations.fills: unknown fill 'tar'"),
        ({"class_map": {"\ud800": "\udfff"}, "bank": "\udfff"}, "A text holds half of a surrogate pair"),
    ],
)
def test_details_are_in_our_words(http: httpx.Client, fields: dict[str, Any], detail: str) -> None:
    body = json.dumps({"classifier": "c", "dataset": "d"} | fields)  # half a pair of surrogates cannot be sent as it is
    answer = http.post("/v1/audits", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


def test_a_request_with_several_faults_names_them_all(http: httpx.Client) -> None:
    problem = http.post("/v1/keys", json={"name": "", "scopes": ["everything"]}).json()
    assert {fault["field"] for fault in problem["errors"]} == {"name", "scopes.0"}
    assert problem["field"] in ("name", "scopes.0")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("gone", field="dataset"), 404),
        (Invalid("wrong", field="sigma", remedy="less"), 422),
        (Conflict("running"), 409),
        (LimitExceeded("enough"), 429),
        (Unavailable("redis", retry_after=7), 503),
    ],
)
def test_errors_of_the_jobs_room_keep_field_and_remedy(error: Any, status: int) -> None:
    problem = from_jobs_error(error)
    assert (problem.status, problem.field, problem.remedy) == (status, error.field, error.remedy)
    assert ("Retry-After" in problem.headers) is (status in (429, 503))


def test_a_mistake_of_ours_is_answered_too_and_the_connection_lasts(server: RunningServer) -> None:
    """Other requests follow on one connection: none of them is reset."""
    damaged = f"{'0' * 11}a"
    file = server.settings.data_dir / "store" / "annotations" / damaged / "annotation.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    before = server.log.read_text().count("request failed")
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(5):
                response = client.get(f"/v1/annotations/{damaged}")
                assert (response.status_code, response.json()["type"]) == (500, TYPE_PREFIX + "internal")
                assert response.json()["instance"] == response.headers["X-Request-Id"]
                assert client.get("/livez").status_code == 200
    finally:
        shutil.rmtree(file.parent)
    assert server.log.read_text().count("request failed") == before + 5


def test_errors_of_the_models_room_keep_field_and_remedy() -> None:
    assert from_models_error(BankError("damaged", field="bank")).field == "bank"
    assert from_models_error(UnknownClassError("no such", field="classes")).kind == "unknown-class"


def test_a_problem_survives_the_way_between_processes() -> None:
    problem = Problem(
        "too-busy",
        "full",
        field="a",
        remedy="b",
        headers={"Retry-After": "1"},
        errors=[FieldError(field="a", detail="c")],
    )
    again = pickle.loads(pickle.dumps(problem))
    assert again.details() == problem.details()
    assert again.headers == problem.headers


def test_every_kind_is_in_the_reference_and_in_the_capabilities(http: httpx.Client) -> None:
    reference = Path(ROOT, "docs", "api.md").read_text()
    listed = http.get("/v1/capabilities").json()["problem_types"]
    for kind, about in KINDS.items():
        assert re.search(rf"^\| `{kind}` \| {about.status} \|", reference, re.MULTILINE), f"docs/api.md lacks {kind}"
        assert listed[TYPE_PREFIX + kind] == about.title
