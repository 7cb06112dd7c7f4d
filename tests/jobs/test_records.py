"""The Redis side of jobs: states change once, progress adds up however often a shard runs, leases expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.errors import Cancelled, Unavailable
from jobs.ledger import Ledger
from jobs.records import JobRecord, JobState, WorkerInfo
from jobs.redis_client import connect
from tests.jobs.installation import wait_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


@pytest.fixture
def ledger(redis_url: str) -> Ledger:
    return Ledger(connect(redis_url, text=True))


def record(job: str = "j", created: datetime = NOW) -> JobRecord:
    asked = {"classifier": "c", "classes": ["ä"]}
    return JobRecord(id=job, kind="audit", state=JobState.QUEUED, created=created, request=asked)


@pytest.fixture
def running(ledger: Ledger) -> str:
    ledger.add(record())
    ledger.move("j", [JobState.QUEUED], JobState.RUNNING, started=datetime.now(UTC) - timedelta(seconds=10))
    ledger.set_plan("j", total=100, shards=2)
    return "j"


def test_a_record_comes_back_as_it_was_added(ledger: Ledger) -> None:
    assert ledger.add(record())
    assert not ledger.add(record(created=NOW + timedelta(days=1)))
    assert ledger.read("j") == record()
    assert ledger.active() == {"j"}
    assert ledger.read("unknown") is None
    assert ledger.state("unknown") is None


def test_states_are_left_only_from_where_they_are(ledger: Ledger) -> None:
    ledger.add(record())
    assert not ledger.move("j", [JobState.RUNNING], JobState.SUCCEEDED)
    assert ledger.move("j", UNFINISHED, JobState.FAILED, message="why", finished=NOW)
    assert not ledger.move("j", UNFINISHED, JobState.CANCELLED)
    found = ledger.read("j")
    assert found is not None
    assert (found.state, found.message, found.finished) == (JobState.FAILED, "why", NOW)
    assert ledger.active() == set()
    assert {state: count for state, count in ledger.states().items() if count} == {JobState.FAILED: 1}
    assert ledger.move("j", [JobState.FAILED], JobState.QUEUED, finished=None)
    found = ledger.read("j")
    assert found is not None
    assert (found.message, found.finished) == (None, None)
    assert not ledger.move("unknown", UNFINISHED, JobState.FAILED)


def test_progress_counts_every_picture_once_however_often_a_shard_runs(ledger: Ledger, running: str) -> None:
    def done() -> int:
        found = ledger.read(running)
        assert found is not None
        return found.done

    ledger.progress(running, 0, 20)
    ledger.progress(running, 1, 5)
    ledger.progress(running, 0, 30)
    assert done() == 35
    ledger.progress(running, 0, 10)  # killed and begun anew
    assert done() == 15
    assert not ledger.finish_shard(running, 0, 50)
    assert done() == 55
    ledger.progress(running, 0, 40)  # run a second time by mistake
    assert not ledger.finish_shard(running, 0, 50)
    assert done() == 55
    assert ledger.finish_shard(running, 1, 50)
    assert not ledger.finish_shard(running, 1, 50), "the set is completed once"
    assert done() == 100


def test_rate_and_time_left_leave_out_what_was_there_before(ledger: Ledger, running: str) -> None:
    found = ledger.read(running)
    assert found is not None
    assert found.rate is None
    ledger.finish_shard(running, 0, 50, resumed=True)
    ledger.progress(running, 1, 20)
    found = ledger.read(running)
    assert found is not None
    assert found.done == 70
    assert found.rate == pytest.approx(2, rel=0.2)
    assert found.seconds_left == pytest.approx(15, rel=0.2)


def test_who_works_on_an_ended_job_is_told_so_and_counts_nothing(ledger: Ledger, running: str) -> None:
    ledger.move(running, UNFINISHED, JobState.CANCELLED)
    with pytest.raises(Cancelled, match="cancelled"):
        ledger.progress(running, 0, 10)
    assert not ledger.finish_shard(running, 0, 50)
    found = ledger.read(running)
    assert found is not None
    assert found.done == 0


def test_a_job_that_redis_lost_lets_its_shards_go_on(ledger: Ledger) -> None:
    ledger.progress("lost", 0, 10)
    assert not ledger.finish_shard("lost", 0, 10)
    assert ledger.client.keys("*lost*") == []


def test_a_task_is_leased_to_one_worker_until_it_is_not_heard_of(ledger: Ledger) -> None:
    assert ledger.take_lease("j", "shard-0", "first", 0.2)
    assert not ledger.take_lease("j", "shard-0", "second", 0.2)
    assert ledger.leased("j", ["shard-0", "shard-1"]) == {"shard-0"}
    ledger.release_lease("j", "shard-0", "second")
    assert ledger.leased("j", ["shard-0"]) == {"shard-0"}
    wait_for(lambda: not ledger.leased("j", ["shard-0"]), "the lease to expire", 5)
    assert ledger.take_lease("j", "shard-0", "second", 10)
    ledger.release_lease("j", "shard-0", "second")
    assert ledger.leased("j", ["shard-0"]) == set()


def test_jobs_are_listed_newest_first_page_by_page(ledger: Ledger) -> None:
    for number in range(5):
        ledger.add(record(f"j{number}", NOW + timedelta(minutes=number)))
    assert ledger.page(None, 2) == ["j4", "j3"]
    ledger.add(record("new", NOW + timedelta(days=1)))
    assert ledger.page("j3", 2) == ["j2", "j1"]
    assert ledger.page("j1", 2) == ["j0"]
    assert ledger.page("unknown", 2) == []


def test_counters_add_up(ledger: Ledger) -> None:
    ledger.count(shards=1, shard_seconds=0.5)
    ledger.count(shards=1, **{"pictures_skipped:damaged": 3})
    assert ledger.counters() == {"shards": 2, "shard_seconds": 0.5, "pictures_skipped:damaged": 3}


def test_workers_are_alive_for_as_long_as_they_are_heard_of(ledger: Ledger) -> None:
    first, second = (WorkerInfo(name=name, task=None, started=NOW) for name in ("first", "second"))
    ledger.beat(second, 60)
    ledger.beat(first, 60)
    assert ledger.workers() == [first, second]
    ledger.beat(first, 0.1)
    wait_for(lambda: ledger.workers() == [second], "the first to be forgotten", 5)
    ledger.forget_worker("second")
    assert ledger.workers() == []


def test_a_redis_that_is_not_there_is_unavailable() -> None:
    ledger = Ledger(connect("unix:///nonexistent/redis.sock", text=True))
    for call in (
        lambda: ledger.read("j"),
        lambda: ledger.add(record()),
        lambda: ledger.progress("j", 0, 1),
        ledger.active,
    ):
        with pytest.raises(Unavailable, match="Redis does not answer"):
            call()
