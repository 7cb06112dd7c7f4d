"""Metrics add up over the processes of the service, and tell of the jobs what stands in Redis."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobs.queue import JobQueue
from jobs.records import JobRecord, JobState
from jobs.settings import Settings
from service.job_metrics import JobCollector
from tests.service.conftest import RunningServer, StartServer, encoded, picture


@pytest.fixture(scope="module")
def counted(start_server: StartServer) -> RunningServer:
    """A service that nobody else asks anything."""
    return start_server()


def test_api_and_worker_count_into_one_whole(counted: RunningServer) -> None:
    with ThreadPoolExecutor(6) as clients:
        list(clients.map(lambda seed: counted.ask(encoded(picture(seed=seed)), encoded(picture())), range(6)))
    counted.ask(b"no picture")
    httpx.get(f"{counted.url}/v1/banks/tiny")
    httpx.get(f"{counted.url}/v1/banks/none")
    httpx.get(f"{counted.url}/nowhere/{'x' * 50}")
    assert counted.metric('cuecheck_requests_total{method="POST",route="/v1/masks",status="200"}') == 6
    assert counted.metric('cuecheck_requests_total{method="POST",route="/v1/masks",status="422"}') == 1
    assert counted.metric('cuecheck_requests_total{method="GET",route="/v1/banks/{bank}",status="200"}') == 1
    assert counted.metric('cuecheck_requests_total{method="GET",route="/v1/banks/{bank}",status="404"}') == 1
    assert counted.metric('cuecheck_requests_total{method="GET",route="(no route)",status="404"}') == 1
    assert counted.metric('cuecheck_request_seconds_count{method="POST",route="/v1/masks"}') == 7
    assert counted.metric('cuecheck_pictures_total{outcome="answered"}') == 12
    assert counted.metric('cuecheck_pictures_total{outcome="bad-picture"}') == 1
    assert counted.metric("cuecheck_batch_pictures_sum") == 13
    assert counted.metric("cuecheck_queue_seconds_count") == 13
    batches = counted.metric("cuecheck_batch_pictures_count")
    assert 0 < batches <= 13
    for stage in ("forward", "maps", "encode"):
        assert 0 < counted.metric(f'cuecheck_predict_seconds_count{{stage="{stage}"}}') <= batches
    assert counted.metric('cuecheck_predict_seconds_count{stage="decode"}') == batches
    assert counted.metric("cuecheck_requests_in_flight") == 1, "the scrape itself"
    assert counted.metric("cuecheck_pictures_waiting") == 0
    assert counted.metric('cuecheck_model_workers{device="cpu",precision="fp32",provider="torch-cpu"}') == 1


def test_a_fault_of_ours_is_a_500_with_an_id_and_without_the_inside(counted: RunningServer, banks_dir: Path) -> None:
    shown = banks_dir / "other" / "exemplars" / "ant-0.jpg"
    path = "/v1/banks/other/classes/ant/features/0/exemplars/0"
    assert httpx.get(counted.url + path).status_code == 200
    hidden = shown.rename(shown.with_suffix(".hidden"))
    try:
        response = httpx.get(counted.url + path)
    finally:
        hidden.rename(shown)
    assert response.status_code == 500
    assert response.json()["type"] == "urn:cuecheck:problem:internal"
    assert response.json()["instance"] == response.headers["X-Request-Id"]
    assert str(banks_dir) not in response.text
    assert response.headers["X-Request-Id"] in counted.log.read_text()
    route = "/v1/banks/{bank}/classes/{class_key}/features/{feature}/exemplars/{number}"
    assert counted.metric(f'cuecheck_requests_total{{method="GET",route="{route}",status="500"}}') == 1


def test_the_page_is_what_prometheus_parses(http: httpx.Client) -> None:
    response = http.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    names = [family.name for family in text_string_to_metric_families(response.text)]
    assert len(names) == len(set(names))
    assert {"cuecheck_requests", "cuecheck_jobs", "cuecheck_queue_length", "cuecheck_workers"} <= set(names)
    assert not re.search(r"pid=", response.text)


def test_what_redis_knows_of_the_jobs_is_told(settings: Settings) -> None:
    queue = JobQueue(settings.model_copy(update={"queue": "counted"}))
    ledger = queue.ledger
    before = ledger.states()
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    for name, state in (("f" * 32, JobState.QUEUED), ("e" * 32, JobState.SUCCEEDED)):
        ledger.add(JobRecord(id=name, kind="audit", state=state, created=long_ago, request={}))
    ledger.count(pictures_audited=500, shards=2, shard_seconds=4.5, **{"pictures_skipped:truncated": 3})
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in JobCollector(queue).collect()
        for sample in family.samples
    }
    try:
        assert found["cuecheck_redis_up",] == 1
        assert found["cuecheck_jobs", "queued"] == before[JobState.QUEUED] + 1
        assert found["cuecheck_jobs", "succeeded"] == before[JobState.SUCCEEDED] + 1
        assert found["cuecheck_oldest_job_seconds",] == pytest.approx(3600, abs=60)
        assert found["cuecheck_queue_length",] == 0
        assert found["cuecheck_workers",] == len(ledger.workers())
        assert found["cuecheck_pictures_audited_total",] >= 500
        assert found["cuecheck_pictures_skipped_total", "truncated"] >= 3
    finally:
        ledger.move("f" * 32, [JobState.QUEUED], JobState.CANCELLED)
