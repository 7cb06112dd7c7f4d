"""An audit is cut, run and put together; whatever runs twice or is lost on the way changes nothing in its bytes."""

from __future__ import annotations

import json
import resource

import fsspec
import pyarrow as pa
import pytest

from jobs import audit_job, rows, tasks
from jobs.errors import Unavailable
from jobs.lease import Lease
from jobs.records import JobState
from jobs.settings import Settings
from jobs.shards import ShardPlan, plan_shards
from jobs.sweeper import Sweeper, sweeping
from jobs.tasks import perform
from tests.jobs.installation import Installation, wait_for, work


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 261, 10_000, 123_457])
@pytest.mark.parametrize("max_pictures", [None, 1, 100])
def test_the_shards_hold_every_chosen_picture_once_and_in_order(samples: int, max_pictures: int | None) -> None:
    plan = plan_shards("a", samples, max_pictures, shard_pictures=2000, seed=0)
    chosen = [row for shard in range(plan.shards) for row in plan.rows_of(shard)]
    assert len(chosen) == plan.pictures == min(samples, max_pictures or samples)
    assert chosen == sorted(set(chosen))
    assert chosen[-1] < samples
    sizes = [len(plan.positions(shard)) for shard in range(plan.shards)]
    assert max(sizes) <= 2000
    assert max(sizes) - min(sizes) <= 1


def test_a_choice_is_spread_over_the_whole_data_set() -> None:
    plan = plan_shards("a", rows=1000, max_pictures=10, shard_pictures=2000, seed=0)
    assert [row // 100 for row in plan.rows_of(0)] == list(range(10))


def test_a_choice_meets_every_class_of_an_archive_that_goes_round_them() -> None:
    plan = plan_shards("a", rows=2000, max_pictures=400, shard_pictures=2000, seed=0)
    chosen = [row for shard in range(plan.shards) for row in plan.rows_of(shard)]
    assert min(sum(row % 10 == class_index for row in chosen) for class_index in range(10)) >= 20


def test_a_choice_depends_on_the_seed_and_not_on_the_audit() -> None:
    first, same, other = (plan_shards(a, 1000, 10, 2000, seed).rows_of(0) for a, seed in (("a", 0), ("b", 0), ("a", 1)))
    assert first == same != other


def test_small_data_sets_are_cut_too_so_that_progress_shows() -> None:
    assert [plan_shards("a", rows, None, 2000, 0).shards for rows in (10, 64, 130, 261, 9000)] == [1, 1, 3, 4, 5]


def test_a_shards_name_stands_for_all_it_was_made_from() -> None:
    plan = plan_shards("a", 1000, None, 300, 0)
    others = [("b", 1000, None, 300, 0), ("a", 1000, 900, 300, 0), ("a", 1000, None, 200, 0)]
    assert len({other.file("audits", 1) for other in [plan, *(plan_shards(*made_from) for made_from in others)]}) == 4
    assert plan.file("audits", 1) == ShardPlan.model_validate_json(plan.model_dump_json()).file("audits", 1)


def test_an_audit_runs_from_plan_to_report(in_process: Installation) -> None:
    queue = in_process.queue
    record = queue.submit(in_process.request)
    assert (record.state, record.done, record.total) == (JobState.QUEUED, 0, None)
    assert work(queue) == ["plan", "shard-0", "shard-1", "shard-2", "shard-3", "reduce"]
    record = queue.get(record.id)
    assert (record.state, record.done, record.total) == (JobState.SUCCEEDED, 261, 261)
    assert record.started is not None
    assert record.finished is not None
    assert set(record.artefacts) >= {"report.json", "report.html", "model-card.md", "skipped.parquet"}
    report = json.loads(queue.store.read_bytes(f"audits/{record.id}/report.json"))
    assert report["audit"] == record.id
    assert report["findings"]["skipped"] == {"not_a_picture": 1}
    counters = queue.ledger.counters()
    assert counters["pictures_audited"] == 260
    assert counters["pictures_skipped:not_a_picture"] == 1
    assert counters["shards"] == 4
    assert counters["jobs_succeeded"] == 1


def test_tasks_that_run_twice_change_nothing(in_process: Installation, undisturbed: dict[str, bytes]) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    for task in ("plan", "plan", "shard-2", "shard-2", "shard-0", "plan", "shard-1", "shard-1", "shard-3", "shard-3"):
        perform(job, task)
    assert queue.get(job).done == 261
    for task in ("reduce", "reduce", "shard-0"):
        perform(job, task)
    assert queue.get(job).state is JobState.SUCCEEDED
    assert in_process.files(job) == undisturbed


def test_a_shard_whose_file_is_there_is_not_run_again(
    in_process: Installation, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = in_process.queue.submit(in_process.request).id
    for name, data in undisturbed.items():
        if name.startswith("shards/"):
            in_process.queue.store.write_bytes(f"audits/{job}/{name}", data)
    monkeypatch.setattr(audit_job, "audit_shard", None)
    assert work(in_process.queue) == ["plan", "reduce"]
    assert in_process.files(job) == undisturbed


def test_a_store_behind_another_url_gives_the_same_bytes(
    in_process: Installation, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(f"{in_process.settings.data_dir}/store/", "/bucket/prefix", recursive=True)
    monkeypatch.setenv("CUECHECK_STORE_URL", "memory://bucket/prefix")
    elsewhere = Installation(Settings(), in_process.request)
    job = elsewhere.queue.submit(in_process.request).id
    work(elsewhere.queue)
    assert elsewhere.files(job) == undisturbed
    memory.rm("/bucket", recursive=True)


def test_a_task_that_another_worker_holds_is_left_alone(in_process: Installation) -> None:
    ledger = in_process.queue.ledger
    job = in_process.queue.submit(in_process.request).id
    perform(job, "plan")
    ledger.take_lease(job, "shard-0", "another", 60)
    perform(job, "shard-0")
    assert ledger.finished(job) == set()


def test_the_sweeper_queues_what_was_lost_and_only_that(in_process: Installation) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    sweeper = Sweeper(queue)

    def sweep() -> int:
        queue.ledger.client.delete("cuecheck:sweep")
        return sweeper.sweep()

    assert sweep() == 0
    queue.rq.empty()
    assert sweep() == 1
    assert queue.queued() == {job: {"plan"}}
    queue.rq.empty()
    perform(job, "plan")
    assert sweep() == 0
    queue.rq.empty()
    perform(job, "shard-1")
    queue.ledger.take_lease(job, "shard-2", "alive", 60)
    assert sweep() == 2
    assert queue.queued() == {job: {"shard-0", "shard-3"}}
    queue.ledger.release_lease(job, "shard-2", "alive")
    assert work(queue) == ["shard-0", "shard-3"]
    perform(job, "shard-2")
    queue.rq.empty()  # the reduction is lost
    assert sweep() == 1
    assert work(queue) == ["reduce"]
    assert queue.get(job).state is JobState.SUCCEEDED
    assert sweep() == 0
    assert queue.ledger.counters()["tasks_requeued"] == 4


def test_a_task_stuck_between_queue_and_worker_is_found_at_the_second_look(in_process: Installation) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    queue.rq.connection.lmove(queue.rq.key, queue.rq.intermediate_queue_key, "LEFT", "RIGHT")
    sweeper = Sweeper(queue)
    assert sweeper.sweep() == 0
    queue.ledger.client.delete("cuecheck:sweep")
    assert sweeper.sweep() == 1
    assert queue.queued() == {job: {"plan"}}


def test_one_sweeper_at_a_time_is_enough(in_process: Installation) -> None:
    in_process.queue.submit(in_process.request)
    in_process.queue.rq.empty()
    assert [Sweeper(in_process.queue).sweep() for _ in range(3)] == [1, 0, 0]


def test_a_process_that_is_always_there_sweeps_from_a_thread(in_process: Installation) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    with sweeping(queue):
        queue.rq.empty()
        wait_for(lambda: queue.queued() == {job: {"plan"}}, "the sweeper", 10)


def test_a_fault_is_tried_again_and_then_ends_the_audit_with_its_reason(
    in_process: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    perform(job, "plan")
    queue.store.write_bytes(f"datasets/{in_process.request.dataset}/index.parquet", b"PAR1 torn PAR1")
    for _ in range(in_process.settings.max_attempts - 1):
        with pytest.raises(Exception, match="Parquet"):
            perform(job, "shard-0")
        record = queue.get(job)
        assert record.state is JobState.RUNNING
        assert record.message is not None
        assert record.message.startswith("Trying again: shard-0 failed with")
    perform(job, "shard-0")
    record = queue.get(job)
    assert record.state is JobState.FAILED
    assert "tried 3 times" in str(record.message)
    assert queue.rq.count == 0


def test_what_another_try_cannot_mend_ends_the_audit_at_once(in_process: Installation) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    queue.store.delete(f"datasets/{in_process.request.dataset}")
    work(queue)
    record = queue.get(job)
    assert record.state is JobState.FAILED
    assert "no data set" in str(record.message)
    assert queue.ledger.counters()["jobs_failed"] == 1


def test_a_classifier_that_fails_ends_its_audit_with_its_own_words(in_process: Installation) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    (blob,) = [name for name in queue.store.list("blobs") if queue.store.read_range(f"blobs/{name}", 0, 2) != b"PK"]
    queue.store.write_bytes(f"blobs/{blob}", b"not a network")
    done = work(queue)
    record = queue.get(job)
    assert record.state is JobState.FAILED
    assert str(record.message).startswith("The classifier is refused")
    assert done == ["plan", "shard-0", "shard-1", "shard-2", "shard-3"], "later ones find the audit ended"
    assert queue.ledger.client.hgetall(f"cuecheck:job:{job}:attempts") == {}


def test_a_store_out_of_reach_costs_no_attempt(in_process: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    perform(job, "plan")

    def gone(*_: object) -> None:
        raise Unavailable("the bucket does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(audit_job, "read_rows", gone)
        for _ in range(5):
            perform(job, "shard-0")
    record = queue.get(job)
    assert record.state is JobState.RUNNING
    assert record.message == "Waiting to try again: the bucket does not answer"
    work(queue)
    assert queue.get(job).state is JobState.SUCCEEDED
    assert queue.get(job).message is None


def test_a_full_store_is_waited_for_and_then_ends_the_audit(
    in_process: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    perform(job, "plan")

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    real = rows.to_parquet

    def last_thing_that_fits(table: pa.Table) -> bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
        return real(table)

    monkeypatch.setattr(rows, "to_parquet", last_thing_that_fits)
    for attempt in range(1, 4):
        try:
            perform(job, "shard-0")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert queue.get(job).state is (JobState.FAILED if attempt == 3 else JobState.RUNNING)
    assert "No room in the store" in str(queue.get(job).message)
    assert list(queue.store.list(f"audits/{job}/shards")) == []


def test_shards_of_another_version_of_the_code_are_not_mixed_in(
    in_process: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request).id
    monkeypatch.setattr(tasks, "code_version", lambda: "9.9.9+other")
    work(queue)
    record = queue.get(job)
    assert record.state is JobState.FAILED
    assert "this worker runs 9.9.9+other" in str(record.message)


def test_the_bank_may_be_named_by_its_digest(in_process: Installation, undisturbed: dict[str, bytes]) -> None:
    queue = in_process.queue
    job = queue.submit(in_process.request)
    digest = queue.inputs(job.id).pins["bank"]
    assert queue.submit(in_process.request.model_copy(update={"bank": digest})).id == job.id


def test_a_lease_lives_as_long_as_its_holder(in_process: Installation) -> None:
    ledger = in_process.queue.ledger
    with Lease(ledger, "j", "shard-0", "me", 0.3) as lease:
        assert lease.held
        with Lease(ledger, "j", "shard-0", "you", 0.3) as other:
            assert not other.held
        ledger.client.delete("cuecheck:job:j:lease:shard-0")  # as a Redis does that loses its data
        wait_for(lambda: ledger.leased("j", ["shard-0"]) == {"shard-0"}, "the lease to be renewed", 5)
    assert ledger.leased("j", ["shard-0"]) == set()
