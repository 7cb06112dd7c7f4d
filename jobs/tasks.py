"""What workers run: one task of one audit at a time, named on the queue by ids only.

`plan` cuts the audit and queues its shards, `shard-<n>` audits one range of pictures, `reduce` writes the report. Each
may be killed at any moment and started again, here or elsewhere: a shard's file is the proof that it is done.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pyarrow as pa
import rq
import structlog
import torch

from jobs import rows
from jobs.audit import audit_shard
from jobs.datasets import get_dataset, read_rows
from jobs.errors import Cancelled, Conflict, JobsError, StoreFull, Unavailable
from jobs.lease import Lease
from jobs.ledger import Ledger
from jobs.publication import publish
from jobs.queue import PLAN, REDUCE, SHARD, AuditInputs, JobQueue
from jobs.records import JobState
from jobs.settings import Settings
from jobs.shards import ShardPlan, plan_shards
from jobs.store import Store
from jobs.subjects import open_subjects
from jobs.version import code_version
from models.errors import ModelsError

log = structlog.get_logger()

REDIS_PATIENCE_SECONDS = 60.0  # how long a finished shard waits to be counted while Redis is gone
REDIS_PAUSE_SECONDS = 1.0


def perform(job: str, task: str) -> None:
    """Run one task, unless it is no longer wanted or another worker is at it.

    Errors that another try cannot mend end the audit with their message. Others are raised, so that RQ queues the
    task again, until it was started as often as the settings allow.
    """
    settings = Settings()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    queue = JobQueue(settings)
    state = queue.ledger.state(job)
    if state is None or state.is_final:
        return
    with Lease(queue.ledger, job, task, _worker_name(), settings.lease_seconds) as lease:
        if not lease.held:
            return
        attempt = queue.ledger.start_attempt(job, task)
        if attempt > settings.max_attempts:
            queue.fail(job, f"{task} was started {attempt - 1} times and never ended: its worker was killed.")
            return
        _attempt(queue, job, task, last=attempt == settings.max_attempts)


def _attempt(queue: JobQueue, job: str, task: str, *, last: bool) -> None:
    try:
        inputs = queue.inputs(job)
        if inputs.code_version != code_version():
            raise Conflict(
                f"The audit was submitted to version {inputs.code_version}, and this worker runs {code_version()}: "
                "submit it again."
            )
        if task == PLAN:
            plan_audit(queue, job, inputs)
        elif task == REDUCE:
            reduce_audit(queue, job, inputs)
        else:
            run_shard(queue, job, int(task.removeprefix(SHARD)), inputs)
    except Cancelled:
        log.info("cancelled", job=job, task=task)
    except Unavailable as error:
        # Not queued again at once: the sweeper does so in a while, and a store or Redis in trouble is left alone.
        log.warning("put off", job=job, task=task, reason=error.message)
        with suppress(Unavailable):
            if not isinstance(error, StoreFull):
                queue.ledger.take_back_attempt(job, task)
            elif last:
                queue.fail(job, error.message)
            queue.ledger.note(job, f"Waiting to try again: {error.message}")
    except (JobsError, ModelsError) as error:
        queue.fail(job, str(error))
    except Exception as error:
        log.exception("task failed", job=job, task=task)
        message = f"{task} failed with {type(error).__name__}: {error}"
        if last:
            queue.fail(job, f"{message} (tried {queue.settings.max_attempts} times)")
            return
        queue.ledger.note(job, f"Trying again: {message}")
        raise


def plan_audit(queue: JobQueue, job: str, inputs: AuditInputs) -> None:
    """Cut the audit into shards and queue those whose files are not there yet."""
    store, ledger = queue.store, queue.ledger
    name = f"audits/{job}/plan.json"
    if not store.exists(name):
        samples = get_dataset(store, inputs.request.dataset).pictures
        request = inputs.request
        fresh = plan_shards(job, samples, request.max_pictures, queue.settings.shard_pictures, request.seed)
        store.write_bytes(name, fresh.model_dump_json(indent=1).encode())
    plan = _plan(store, job)
    ledger.move(job, [JobState.QUEUED], JobState.RUNNING, started=datetime.now(UTC))
    if ledger.shards(job) is not None:
        return  # planned before; the sweeper queues what of it was lost
    ledger.set_plan(job, plan.pictures, plan.shards)
    there = {f"audits/{job}/shards/{file}" for file in store.list(f"audits/{job}/shards")}
    finished = {shard for shard in range(plan.shards) if plan.file(shard) in there}
    complete = [ledger.finish_shard(job, shard, len(plan.positions(shard)), resumed=True) for shard in finished]
    if any(complete):
        queue.enqueue(job, [REDUCE])
    queue.enqueue(job, (f"{SHARD}{shard}" for shard in range(plan.shards) if shard not in finished))


def run_shard(queue: JobQueue, job: str, shard: int, inputs: AuditInputs) -> None:
    """Audit one shard and write its file, unless it is there; who finishes the last one queues the reduction."""
    plan = _plan(queue.store, job)
    name = plan.file(shard)
    if not queue.store.exists(name):
        began = time.monotonic()
        with open_subjects(queue.store, queue.settings, inputs.pinned()) as subjects:
            table = audit_shard(
                read_rows(queue.store, inputs.request.dataset, plan.rows_of(shard)),
                subjects,
                inputs.request,
                queue.settings.max_pixels,
                _progress(queue.ledger, job, shard),
            )
        queue.store.write_bytes(name, rows.to_parquet(table))
        _count(queue.ledger, table, time.monotonic() - began)
    pictures = len(plan.positions(shard))
    if _patiently(lambda: queue.ledger.finish_shard(job, shard, pictures)):
        queue.enqueue(job, [REDUCE])


def reduce_audit(queue: JobQueue, job: str, inputs: AuditInputs) -> None:
    """Write the report from the shards' files, unless it is there."""
    if not queue.store.exists(f"audits/{job}/report.json"):
        plan = _plan(queue.store, job)
        publish(queue.store, queue.settings, inputs.pinned(), plan, inputs.code_version)
    queue.succeed(job)


def _plan(store: Store, job: str) -> ShardPlan:
    return ShardPlan.model_validate_json(store.read_bytes(f"audits/{job}/plan.json"))


def _progress(ledger: Ledger, job: str, shard: int) -> Callable[[int], None]:
    """Reports pictures done; while Redis is gone the shard goes on unreported, asking again every second."""
    silent_until = 0.0

    def report(pictures: int) -> None:
        nonlocal silent_until
        if time.monotonic() < silent_until:
            return
        try:
            ledger.progress(job, shard, pictures)
        except Unavailable:
            silent_until = time.monotonic() + REDIS_PAUSE_SECONDS

    return report


def _patiently(call: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + REDIS_PATIENCE_SECONDS
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(REDIS_PAUSE_SECONDS)


def _count(ledger: Ledger, table: pa.Table, seconds: float) -> None:
    """Add a shard to the counters of all workers; they are for watching, a lost one does no harm."""
    variants = Counter(table["variant"].to_pylist())
    reasons = Counter(reason for reason in table["reason"].to_pylist() if reason is not None)
    increments = {f"pictures_skipped:{reason}": float(count) for reason, count in reasons.items()}
    with suppress(Unavailable):
        ledger.count(shards=1, shard_seconds=seconds, pictures_audited=variants[rows.CLEAN], **increments)


def _worker_name() -> str:
    current = rq.get_current_job()
    return (current and current.worker_name) or "unnamed"
