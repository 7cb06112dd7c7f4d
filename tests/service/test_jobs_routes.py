"""Jobs over HTTP: followed by any number of listeners, cancelled, retried, and in the way of deletion."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.problems import TYPE_PREFIX
from tests.service.conftest import wait_for
from tests.service.material import (
    archive,
    classifier,
    ended,
    slow_classifier,
    upload_classifier,
    upload_dataset,
)


def submit(http: httpx.Client, file: Path, content: bytes, **changes: object) -> dict[str, Any]:
    request = {
        "classifier": upload_classifier(http, file).json()["id"],
        "dataset": upload_dataset(http, content),
        "bank": "tiny",
        "batch_size": 4,
        **changes,
    }
    answer = http.post("/v1/audits", json=request)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def events(url: str, job: str) -> list[dict[str, Any]]:
    """All records that a stream of events gives, to its end."""
    with httpx.stream("GET", f"{url}/v1/jobs/{job}/events", timeout=120) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line.startswith("data:")]
    return [json.loads(line.removeprefix("data:")) for line in lines]


def test_all_listeners_see_the_job_to_its_end(
    http: httpx.Client, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    job = submit(http, classifier(tmp_path / "model.onnx"), archive(4, seed=30))["id"]
    with ThreadPoolExecutor(3) as listeners:
        heard = list(listeners.map(lambda _: events(str(http.base_url), job), range(3)))
    for records in heard:
        assert records[-1]["state"] == "succeeded"
        assert records[-1]["done"] == records[-1]["total"]
        assert [record["done"] for record in records] == sorted(record["done"] for record in records)


def test_a_listener_that_comes_late_gets_the_end_at_once(
    http: httpx.Client, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    job = submit(http, classifier(tmp_path / "model.onnx"), archive(2, seed=31))["id"]
    final = ended(http, job)
    assert events(str(http.base_url), job) == [final]


def test_a_running_job_can_be_cancelled_and_retried(
    http: httpx.Client, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    file = slow_classifier(tmp_path / "slow.onnx")
    request = submit(http, file, archive(8, seed=32))
    job, dataset, uploaded = request["id"], request["request"]["dataset"], request["request"]["classifier"]
    wait_for(lambda: http.get(f"/v1/jobs/{job}").json()["done"] > 0, 90)

    for path in (f"/v1/datasets/{dataset}", f"/v1/classifiers/{uploaded}"):
        refused = http.delete(path)
        assert refused.status_code == 409
        assert refused.json()["type"] == TYPE_PREFIX + "conflict"
    early = http.get(f"/v1/audits/{job}/report")
    assert early.status_code == 409
    assert int(early.headers["Retry-After"]) > 0

    cancelled = http.post(f"/v1/jobs/{job}/cancel")
    assert cancelled.status_code == 200
    assert cancelled.json()["state"] == "cancelled"
    assert http.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"

    retried = http.post(f"/v1/jobs/{job}/retry")
    assert retried.status_code == 202
    assert retried.json()["state"] in ("queued", "running")
    assert http.post(f"/v1/jobs/{job}/retry").status_code == 409
    assert ended(http, job)["state"] == "succeeded"
    assert http.post(f"/v1/jobs/{job}/cancel").status_code == 409
    assert http.delete(f"/v1/datasets/{dataset}").status_code == 204


def test_jobs_are_listed_newest_first_in_pages(http: httpx.Client) -> None:
    whole = http.get("/v1/jobs").json()["items"]
    assert [job["created"] for job in whole] == sorted((job["created"] for job in whole), reverse=True)
    first = http.get("/v1/jobs", params={"limit": 1}).json()
    second = http.get("/v1/jobs", params={"limit": 1, "cursor": first["next"]}).json()
    assert [page["items"][0]["id"] for page in (first, second)] == [job["id"] for job in whole[:2]]


@pytest.mark.parametrize("path", ["", "/events"])
def test_an_unknown_job(http: httpx.Client, path: str) -> None:
    answer = http.get(f"/v1/jobs/{'0' * 32}{path}")
    assert answer.status_code == 404
    assert answer.json()["field"] == "job"
