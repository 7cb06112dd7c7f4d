"""Audits over HTTP, run by a real worker: submitted once, followed, read as JSON, as a page, and in parts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.report import Report
from service.problems import TYPE_PREFIX
from tests.models.conftest import CLASSES
from tests.service.material import archive, classifier, ended, spec, upload_classifier, upload_dataset


@pytest.fixture(scope="module")
def request_(http: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What can be audited: a classifier and some pictures of the tiny bank's classes."""
    file = classifier(tmp_path_factory.mktemp("audits") / "model.onnx")
    return {
        "classifier": upload_classifier(http, file).json()["id"],
        "dataset": upload_dataset(http, archive(6, seed=20)),
        "bank": "tiny",
    }


@pytest.fixture(scope="module")
def audit(http: httpx.Client, request_: dict[str, Any], worker: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The job of an audit that has succeeded."""
    answer = http.post("/v1/audits", json=request_)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    record = ended(http, answer.json()["id"])
    assert record["state"] == "succeeded", record
    return record


def test_an_audit_counts_every_picture(audit: dict[str, Any]) -> None:
    assert audit["done"] == audit["total"] == 6 * len(CLASSES)
    assert {"report.json", "report.html"} <= set(audit["artefacts"])


def test_an_audit_is_listed_and_read_by_its_job_id(http: httpx.Client, audit: dict[str, Any]) -> None:
    assert http.get(f"/v1/audits/{audit['id']}").json() == audit
    assert audit["id"] in [found["id"] for found in http.get("/v1/audits").json()["items"]]


def test_the_same_inputs_are_the_same_audit(
    http: httpx.Client, audit: dict[str, Any], request_: dict[str, Any]
) -> None:
    answer = http.post("/v1/audits", json=request_)
    assert answer.status_code == 200
    assert answer.json() == audit


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/html;q=0.5, application/json;q=0.4", "text/html; charset=utf-8"),
    ],
)
def test_the_report_comes_as_asked(
    http: httpx.Client, audit: dict[str, Any], accept: str | None, media_type: str
) -> None:
    answer = http.get(f"/v1/audits/{audit['id']}/report", headers={} if accept is None else {"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["Vary"] == "Accept"
    if media_type.startswith("text/html"):
        assert answer.text.lstrip().lower().startswith("<!doctype html>")
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    else:
        assert Report.model_validate_json(answer.content).audit == audit["id"]


def test_a_report_in_no_other_form(http: httpx.Client, audit: dict[str, Any]) -> None:
    answer = http.get(f"/v1/audits/{audit['id']}/report", headers={"Accept": "application/pdf"})
    assert answer.status_code == 406
    assert answer.json()["field"] == "Accept"


def test_every_artefact_can_be_downloaded(http: httpx.Client, audit: dict[str, Any]) -> None:
    found = http.get(f"/v1/audits/{audit['id']}/artefacts").json()["artefacts"]
    assert {entry["name"] for entry in found} == set(audit["artefacts"])
    for entry in found:
        answer = http.get(entry["href"])
        assert answer.status_code == 200
        assert len(answer.content) == entry["bytes"] > 0
        assert answer.headers["Content-Type"] == entry["media_type"]


@pytest.mark.parametrize("asked", ["bytes=10-19", "bytes=10-", "bytes=-7", "bytes=0-99999999"])
def test_part_of_an_artefact(http: httpx.Client, audit: dict[str, Any], asked: str) -> None:
    path = f"/v1/audits/{audit['id']}/artefacts/report.json"
    whole = http.get(path).content
    first, last = asked.removeprefix("bytes=").split("-")
    expected = whole[-int(last) :] if not first else whole[int(first) : int(last) + 1 if last else None]
    answer = http.get(path, headers={"Range": asked})
    assert answer.content == expected
    assert answer.status_code == (206 if len(expected) < len(whole) else 200)


def test_a_range_behind_the_end(http: httpx.Client, audit: dict[str, Any]) -> None:
    answer = http.get(f"/v1/audits/{audit['id']}/artefacts/report.json", headers={"Range": "bytes=99999999-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"].startswith("bytes */")


@pytest.mark.parametrize("name", ["nothing.json", "job.json", "shards", "..%2F..%2Fkeys", "../request.json"])
def test_no_file_but_the_artefacts(http: httpx.Client, audit: dict[str, Any], name: str) -> None:
    assert http.get(f"/v1/audits/{audit['id']}/artefacts/{name}").status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "kind", "field"),
    [
        ({"dataset": "0" * 64}, 404, "not-found", "dataset"),
        ({"classifier": "0" * 64}, 404, "not-found", "classifier"),
        ({"bank": "nowhere"}, 404, "not-found", "bank"),
        ({"bank": "broken"}, 422, "invalid", "bank"),
        ({"classes": ["ant", "wolf"]}, 422, "invalid", "classes"),
        ({"class_map": {"ant": "wolf"}}, 422, "invalid", "class_map"),
        ({"class_map": {"amt": "ant"}}, 422, "invalid", "class_map"),
        ({"sigma": -1}, 422, "invalid", "sigma"),
        ({"corruption": "fog"}, 422, "invalid", "corruption"),
        ({"colour": "red"}, 422, "invalid", "colour"),
        ({"dataset": None}, 422, "invalid", "dataset"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    http: httpx.Client, request_: dict[str, Any], change: dict[str, Any], status: int, kind: str, field: str
) -> None:
    answer = http.post("/v1/audits", json=request_ | change)
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == TYPE_PREFIX + kind
    assert answer.json()["field"] == field


def test_classes_that_do_not_meet_are_refused_at_once(
    http: httpx.Client, request_: dict[str, Any], tmp_path: Path
) -> None:
    foreign = tuple(f"other {name}" for name in CLASSES)
    uploaded = upload_classifier(http, classifier(tmp_path / "model.onnx"), spec(classes=foreign)).json()["id"]
    answer = http.post("/v1/audits", json=request_ | {"classifier": uploaded})
    assert answer.status_code == 422
    assert answer.json()["field"] == "class_map"
    mapped = request_ | {"classifier": uploaded, "class_map": dict(zip(foreign, CLASSES, strict=True))}
    assert http.post("/v1/audits", json=mapped).status_code == 202


def test_a_body_that_is_no_json(http: httpx.Client) -> None:
    answer = http.post("/v1/audits", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["type"] == TYPE_PREFIX + "malformed"


def test_an_unknown_audit(http: httpx.Client) -> None:
    for path in ("", "/report", "/artefacts"):
        assert http.get(f"/v1/audits/{'0' * 32}{path}").status_code == 404
