"""`cuecheck up`: everything starts, everything ends, and what was begun is finished, whatever ends it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.commands import Start
from tests.service.conftest import wait_for
from tests.service.material import archive, ended, slow_classifier, upload_classifier, upload_dataset

PICTURES = 8
"""Of each of the tiny bank's five classes."""


def begin_audit(http: httpx.Client, folder: Path, trips: int) -> str:
    """Submit an audit that takes a while, and wait until it has done something; its id."""
    request = {
        "classifier": upload_classifier(http, slow_classifier(folder / "slow.onnx", trips)).json()["id"],
        "dataset": upload_dataset(http, archive(PICTURES, seed=70)),
        "bank": "tiny",
        "batch_size": 4,
    }
    job = str(http.post("/v1/audits", json=request).raise_for_status().json()["id"])
    wait_for(lambda: http.get(f"/v1/jobs/{job}").json()["done"] > 0, 90)
    return job


def test_sigterm_in_mid_audit_finishes_what_was_begun_and_a_lost_worker_is_reported(
    start: Start, http: httpx.Client, tmp_path: Path
) -> None:
    first = start("up")
    first.wait_until_ready()
    job = begin_audit(http, tmp_path, trips=20_000)
    below = first.below()
    assert {"redis-server", "valkey-server"} & {process.name() for process in below}
    with http.stream("GET", f"/v1/jobs/{job}/events") as listener:
        events = listener.iter_lines()
        assert next(events).startswith("data:")
        first.process.send_signal(signal.SIGTERM)
        assert "succeeded" not in "".join(events)  # the stream ends with the service, not with the job
    assert first.ended() == 0, first.printed()
    assert "nothing is left running" in first.printed()
    assert first.left_behind() == []
    assert not any(process.is_running() for process in below)

    second = start("up")
    second.wait_until_ready()
    record = ended(http, job)
    assert record["state"] == "succeeded", record
    assert record["done"] == record["total"] == PICTURES * 5

    worker = next(child for child in second.below() if child.cmdline()[-2:] == ["service.cli", "worker"])
    worker.kill()
    assert second.ended() == 1
    assert "error: The worker-1 ended" in second.printed()
    assert "Traceback" not in second.printed()
    assert second.left_behind() == []


def test_a_second_signal_ends_everything_at_once(start: Start, http: httpx.Client, tmp_path: Path) -> None:
    command = start("up")
    command.wait_until_ready()
    begin_audit(http, tmp_path, trips=500_000)
    command.process.send_signal(signal.SIGINT)
    wait_for(lambda: "finish what they have begun" in command.printed(), 60, command.printed)
    command.process.send_signal(signal.SIGINT)
    assert command.ended(20) == 0, command.printed()
    assert command.left_behind() == []


def test_a_stack_keeps_another_out_and_leaves_nothing_when_killed(start: Start) -> None:
    first = start("up")
    first.wait_until_ready()
    second = start("up")
    assert second.ended() == 1
    assert "already runs" in second.printed()
    assert httpx.get(f"{first.url}/readyz").status_code == 200

    if shutil.which("setpriv") is None:
        pytest.skip("what outlives a killed stack is only bounded with util-linux's setpriv")
    below = first.below()
    first.process.kill()
    first.process.wait()
    wait_for(lambda: not psutil.wait_procs(below, timeout=0)[1] and not first.left_behind(), 60)
