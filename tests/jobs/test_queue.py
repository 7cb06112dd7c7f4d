"""Jobs are submitted, followed, cancelled and retried; their truth outlives Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from jobs.errors import Conflict, Invalid, LimitExceeded, NotFound, Unavailable
from jobs.queue import JobQueue
from jobs.records import JobRecord, JobState
from jobs.redis_server import RedisServer
from jobs.restore import restore
from jobs.tasks import perform
from tests.jobs.installation import Installation, work


def test_the_same_inputs_are_the_same_job(installation: Installation) -> None:
    queue, request = installation.queue, installation.request
    first = queue.submit(request)
    assert queue.submit(request) == first
    assert queue.submit(request.model_copy(update={"seed": 1})).id != first.id
    assert len(queue.queued()) == 2
    assert queue.queued()[first.id] == {"plan"}


def test_nothing_but_ids_is_on_the_queue(installation: Installation) -> None:
    job = installation.queue.submit(installation.request).id
    (task,) = installation.queue.rq.get_jobs()
    assert (task.func_name, list(task.args), task.kwargs) == ("jobs.tasks.perform", [job, "plan"], {})
    assert task.retries_left == 2


def test_what_does_not_fit_is_refused_before_it_is_queued(installation: Installation) -> None:
    queue, request = installation.queue, installation.request
    wrong = {
        "bank": ("no-such-bank", NotFound, "bank"),
        "dataset": ("0" * 64, NotFound, "dataset"),
        "classifier": ("0" * 64, NotFound, "classifier"),
        "class_map": ({"cat": "unicorn"}, Invalid, "class_map"),
        "classes": (["unicorn"], Invalid, "classes"),
    }
    for field, (value, error, at) in wrong.items():
        with pytest.raises(error) as raised:
            queue.submit(request.model_copy(update={field: value}))
        assert raised.value.field == at
    assert queue.page().jobs == []


def test_more_jobs_than_allowed_are_refused(installation: Installation) -> None:
    queue = JobQueue(installation.settings.model_copy(update={"max_jobs": 1}))
    queue.submit(installation.request)
    with pytest.raises(LimitExceeded, match="1 jobs"):
        queue.submit(installation.request.model_copy(update={"seed": 1}))
    queue.submit(installation.request)


def test_unknown_jobs_are_not_found_whatever_they_look_like(installation: Installation) -> None:
    for job in ("0" * 32, "", "../x", "ä" * 32, "x" * 1000):
        for ask in (installation.queue.get, installation.queue.cancel, installation.queue.retry):
            with pytest.raises(NotFound):
                ask(job)


def test_jobs_are_listed_newest_first(installation: Installation) -> None:
    queue = installation.queue
    ids = [queue.submit(installation.request.model_copy(update={"seed": seed})).id for seed in range(3)]
    page = queue.page(limit=2)
    assert [record.id for record in page.jobs] == [ids[2], ids[1]]
    rest = queue.page(after=page.next, limit=2)
    assert [record.id for record in rest.jobs] == [ids[0]]
    assert rest.next is None


def test_what_a_job_needs_is_known(installation: Installation) -> None:
    queue, request = installation.queue, installation.request
    job = queue.submit(request).id
    assert queue.users_of(request.dataset) == queue.users_of(request.classifier) == [job]
    queue.cancel(job)
    assert queue.users_of(request.dataset) == []


def test_a_queued_job_is_cancelled_at_once_and_retried_from_where_it_was(
    in_process: Installation, undisturbed: dict[str, bytes]
) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    perform(job, "plan")
    perform(job, "shard-1")
    record = queue.cancel(job)
    assert record.state is JobState.CANCELLED
    assert record.done == 65
    assert record.finished is not None
    queued = queue.rq.get_job_ids()
    assert [name for name in queued if name.startswith(job) and "shard" in name] == []
    assert queue.cancel(job).state is JobState.CANCELLED

    record = queue.retry(job)
    assert (record.state, record.finished, record.message) == (JobState.QUEUED, None, None)
    with pytest.raises(Conflict):
        queue.retry(job)
    assert work(queue)[-5:] == ["plan", "shard-0", "shard-2", "shard-3", "reduce"]
    assert in_process.files(job) == undisturbed
    with pytest.raises(Conflict, match="succeeded already"):
        queue.cancel(job)
    with pytest.raises(Conflict):
        queue.retry(job)


def test_submitting_a_cancelled_audit_again_takes_it_up(in_process: Installation) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    queue.cancel(job)
    assert queue.submit(in_process.request).state is JobState.QUEUED
    work(queue)
    assert queue.submit(in_process.request).state is JobState.SUCCEEDED


def test_watching_tells_every_change_until_the_end(in_process: Installation) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    seen: list[JobRecord] = []
    watcher = Thread(target=lambda: seen.extend(queue.watch(job, pause=0.005)))
    watcher.start()
    work(queue)
    watcher.join(10)
    assert seen[0].state is JobState.QUEUED
    assert seen[-1].state is JobState.SUCCEEDED
    done = [record.done for record in seen]
    assert done == sorted(done)
    assert len(set(done)) > 10
    assert any(record.seconds_left for record in seen)


def test_a_redis_without_its_data_is_filled_from_the_store(in_process: Installation) -> None:
    queue = in_process.queue
    requests = [in_process.request.model_copy(update={"max_pictures": 8, "seed": seed}) for seed in range(4)]
    succeeded, cancelled, queued, running = [queue.submit(request).id for request in requests]
    queue.cancel(cancelled)
    for task in ("plan", "shard-0", "reduce"):
        perform(succeeded, task)
    perform(running, "plan")
    before = {job: queue.get(job) for job in (succeeded, cancelled)}
    queue.ledger.client.flushall()
    queue.store.write_bytes("audits/damaged/request.json", b"{")

    assert queue.get(succeeded) == before[succeeded]
    assert restore(queue) == 4
    assert restore(queue) == 0
    assert queue.get(cancelled) == before[cancelled]
    assert {record.id for record in queue.page().jobs} == {succeeded, cancelled, queued, running}
    assert queue.queued() == {queued: {"plan"}, running: {"plan"}}
    work(queue)
    assert queue.get(queued).state is queue.get(running).state is JobState.SUCCEEDED


def test_a_job_that_redis_lost_is_queued_again_when_asked_for(in_process: Installation) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    queue.ledger.client.flushall()
    assert queue.get(job).state is JobState.QUEUED
    assert queue.queued() == {job: {"plan"}}


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop and start."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


def test_while_redis_is_gone_finished_audits_answer_and_the_rest_is_unavailable(
    in_process: Installation, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUECHECK_REDIS_URL", own_redis.url)
    queue = JobQueue(in_process.settings.model_copy(update={"redis_url": own_redis.url}))
    finished = queue.submit(in_process.request.model_copy(update={"max_pictures": 8}))
    work(queue)
    waiting = queue.submit(in_process.request)
    own_redis.kill()

    assert queue.get(finished.id).state is JobState.SUCCEEDED
    assert json.loads(queue.store.read_bytes(f"audits/{finished.id}/report.json"))
    for call in (
        lambda: queue.get(waiting.id),
        lambda: queue.cancel(waiting.id),
        lambda: queue.submit(in_process.request.model_copy(update={"seed": 5})),
        queue.page,
    ):
        with pytest.raises(Unavailable):
            call()

    own_redis.start()
    assert queue.get(waiting.id).state is JobState.QUEUED
    assert work(queue)[0] == "plan"
    assert queue.get(waiting.id).state is JobState.SUCCEEDED
