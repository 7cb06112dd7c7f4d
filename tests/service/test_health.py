"""Liveness is cheap; readiness is true: worker, bank and Redis, with the device and provider really in use."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from jobs.redis_server import RedisServer
from service.status import STALE_SECONDS, WorkerStatus
from tests.service.conftest import STOP_SECONDS, RunningServer, StartServer, encoded, picture, wait_for


def test_it_lives(http: httpx.Client) -> None:
    assert http.get("/livez").json() == {"status": "ok"}


def test_readiness_says_what_the_worker_really_runs_on(http: httpx.Client, server: RunningServer) -> None:
    response = http.get("/readyz")
    assert response.status_code == 200
    readiness = response.json()
    assert readiness["ready"] is True
    assert readiness["redis"] == "ok"
    (worker,) = readiness["workers"]
    assert worker["device"] == "cpu"
    assert worker["provider"] == "torch-cpu"
    assert worker["runtime"] == "torch"
    assert worker["precision"] == "fp32"
    assert worker["banks"] == ["tiny"]


def test_without_redis_it_is_not_ready_but_goes_on_answering_for_masks(start_server: StartServer) -> None:
    with tempfile.TemporaryDirectory(prefix="cuecheck-") as folder, RedisServer(Path(folder)) as redis:
        server = start_server(redis_url=redis.url)
        redis.stop()
        response = httpx.get(f"{server.url}/readyz")
        assert response.status_code == 503
        assert response.json()["redis"] == "unreachable"
        assert httpx.get(f"{server.url}/livez").status_code == 200
        assert server.ask(encoded(picture())).status_code == 200
        assert server.metric("cuecheck_redis_up") == 0
        redis.start()
        wait_for(server.is_ready, 60)
        assert server.metric("cuecheck_redis_up") == 1


def test_a_default_bank_that_is_missing_or_damaged_stops_it_at_start(start_server: StartServer) -> None:
    for bank in ("nowhere", "broken"):
        server = start_server(default_bank=bank, wait=False)
        assert server.process.wait(STOP_SECONDS) != 0
        said = server.log.read_text()
        assert f"{bank!r}" in said
        assert "Traceback" not in said


def status(**changes: object) -> WorkerStatus:
    now = time.monotonic()
    fields = {"process": os.getpid(), "device": "cpu", "provider": "p", "runtime": "r", "precision": "fp32"}
    return WorkerStatus.model_validate(fields | {"banks": ["tiny"], "beat": now} | changes)


def test_a_worker_is_healthy_while_it_lives_reports_and_moves_on() -> None:
    now = time.monotonic()
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert status().healthy(60)
    assert status(busy_since=now - 59).healthy(60)
    assert not status(busy_since=now - 61).healthy(60), "stuck in one batch"
    assert not status(beat=now - STALE_SECONDS - 1).healthy(60), "says nothing any more"
    assert not status(process=ended.pid).healthy(60), "gone"


@pytest.mark.parametrize("path", ["/health", "/info", "/masks", "/predict", "/shutdown"])
def test_none_of_litserves_own_routes_is_there(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404
    assert http.post(path).status_code == 404
