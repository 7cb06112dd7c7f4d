"""Real workers on a real Redis: they are killed, stopped and cut off, and the audit still ends with the same bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.errors import Unavailable
from jobs.records import JobState
from jobs.redis_server import RedisServer
from tests.jobs.installation import Installation, wait_for


def test_two_workers_give_the_bytes_of_one(installation: Installation, undisturbed: dict[str, bytes]) -> None:
    ledger = installation.queue.ledger
    with installation.worker(), installation.worker():
        wait_for(lambda: len(ledger.workers()) == 2, "both workers to sign on")
        job = installation.queue.submit(installation.request).id
        wait_for(lambda: all(worker.task for worker in ledger.workers()), "both to be busy")
        installation.wait_until(job, JobState.SUCCEEDED)
    assert installation.files(job) == undisturbed


def test_a_task_whose_process_is_killed_is_run_again(installation: Installation, undisturbed: dict[str, bytes]) -> None:
    job = installation.queue.submit(installation.request).id
    with installation.worker() as worker:
        installation.wait_for_mid_shard(job)
        worker.horse().kill()
        installation.wait_until(job, JobState.SUCCEEDED)
    assert installation.files(job) == undisturbed


def test_what_a_dead_worker_held_is_taken_over(installation: Installation, undisturbed: dict[str, bytes]) -> None:
    job = installation.queue.submit(installation.request).id
    with installation.worker() as first:
        installation.wait_for_mid_shard(job, finished=1)
        first.kill()
    assert installation.state(job) is JobState.RUNNING
    with installation.worker():
        installation.wait_until(job, JobState.SUCCEEDED)
    assert installation.files(job) == undisturbed
    assert installation.queue.ledger.counters()["tasks_requeued"] >= 1


def test_a_shard_that_kills_every_worker_ends_the_audit_with_that_reason(installation: Installation) -> None:
    installation = Installation(
        installation.settings.model_copy(update={"max_attempts": 2}),
        installation.request.model_copy(update={"max_pictures": 60}),
    )
    job = installation.queue.submit(installation.request).id
    with installation.worker() as worker:
        for attempt in ("1", "2"):
            wait_for(lambda attempt=attempt: installation.attempts(job, "shard-0") == attempt, f"attempt {attempt}")
            worker.horse().kill()
        record = installation.wait_until(job, JobState.FAILED)
    assert "shard-0 was started 2 times and never ended" in str(record.message)


def test_cancelling_stops_a_running_shard_and_a_retry_keeps_what_was_done(
    installation: Installation, undisturbed: dict[str, bytes]
) -> None:
    queue = installation.queue
    job = queue.submit(installation.request).id
    with installation.worker() as worker:
        installation.wait_for_mid_shard(job, finished=1)
        horse = worker.horse()
        cancelled = time.monotonic()
        assert queue.cancel(job).state is JobState.CANCELLED
        horse.wait(10)
        assert time.monotonic() - cancelled < 5
        assert queue.rq.count == 0
        kept = installation.shard_times(job)
        assert 1 <= len(kept) < 4
        queue.retry(job)
        installation.wait_until(job, JobState.SUCCEEDED)
    assert installation.files(job) == undisturbed
    assert kept.items() <= installation.shard_times(job).items()


def test_sigterm_lets_the_running_shard_end_and_the_next_worker_goes_on(
    installation: Installation, undisturbed: dict[str, bytes]
) -> None:
    queue = installation.queue
    job = queue.submit(installation.request).id
    with installation.worker() as worker:
        installation.wait_for_mid_shard(job)
        worker.terminate()
        assert worker.end() == 0
    assert len(queue.ledger.finished(job)) == 1
    assert queue.ledger.workers() == []
    with installation.worker(burst=True) as worker:
        assert worker.end() == 0
    assert queue.get(job).state is JobState.SUCCEEDED
    assert installation.files(job) == undisturbed


def test_a_second_sigterm_ends_the_worker_at_once(installation: Installation) -> None:
    job = installation.queue.submit(installation.request).id
    with installation.worker() as worker:
        installation.wait_for_mid_shard(job)
        horse = worker.horse()
        horse.suspend()  # a task that would go on for long
        worker.terminate()
        time.sleep(1.1)  # RQ 3.0.0 takes two signals within a second for one
        worker.terminate()
        assert worker.end() == 0
        assert not horse.is_running()
    assert installation.queue.ledger.finished(job) == set()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may kill and start again."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.mark.parametrize("data", ["kept", "lost"])
def test_a_redis_that_goes_away_and_comes_back_is_waited_for(
    installation: Installation, own_redis: RedisServer, undisturbed: dict[str, bytes], data: str
) -> None:
    settings = installation.settings.model_copy(update={"redis_url": own_redis.url})
    installation = Installation(settings, installation.request)
    job = installation.queue.submit(installation.request).id
    with installation.worker():
        installation.wait_for_mid_shard(job, finished=1)
        own_redis.kill()
        with pytest.raises(Unavailable):
            installation.queue.get(job)
        if data == "lost":
            for file in own_redis.folder.rglob("*.aof"):
                file.unlink()
        own_redis.start()
        installation.wait_until(job, JobState.SUCCEEDED)
    assert installation.files(job) == undisturbed


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(installation: Installation, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    installation = Installation(
        installation.settings.model_copy(update={"redis_url": server.url}), installation.request
    )
    with installation.worker() as worker, server:
        wait_for(lambda: len(installation.queue.ledger.workers()) == 1, "the worker to sign on")
        worker.terminate()
        assert worker.end() == 0
