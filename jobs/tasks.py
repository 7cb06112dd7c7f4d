"""What workers run: one task of one job at a time, named on the queue by ids only.

`plan` cuts the job and queues its shards, `shard-<n>` does one of them, `reduce` writes the result. Each
may be killed at any moment and started again, here or elsewhere: a shard's file is the proof that it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import rq
import structlog
import torch

from jobs.errors import Cancelled, Conflict, JobsError, StoreFull, Unavailable
from jobs.kinds import kinds
from jobs.lease import Lease
from jobs.progress import REDIS_PAUSE_SECONDS
from jobs.queue import PLAN, REDUCE, SHARD, JobInputs, JobQueue
from jobs.records import JobState
from jobs.settings import Settings
from jobs.version import code_version
from models.errors import ModelsError

log = structlog.get_logger()

LOADED = kinds()
"""Named here so that what the kinds need is loaded once, before a worker forks, not for every task."""

REDIS_PATIENCE_SECONDS = 60.0  # how long a finished shard waits to be counted while Redis is gone


def perform(job: str, task: str) -> None:
    """Run one task, unless it is no longer wanted or another worker is at it.

    Errors that another try cannot mend end the job with their message. Others are raised, so that RQ queues the
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
                f"The job was submitted to version {inputs.code_version}, and this worker runs {code_version()}: "
                "submit it again."
            )
        if task == PLAN:
            plan_job(queue, job, inputs)
        elif task == REDUCE:
            reduce_job(queue, job, inputs)
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


def plan_job(queue: JobQueue, job: str, inputs: JobInputs) -> None:
    """Cut the job into shards and queue those whose files are not there yet."""
    ledger = queue.ledger
    work = inputs.kind_of_job().plan(queue, job, inputs)
    ledger.move(job, [JobState.QUEUED], JobState.RUNNING, started=datetime.now(UTC))
    if ledger.shards(job) is not None:
        return  # planned before; the sweeper queues what of it was lost
    ledger.set_plan(job, sum(work.pictures), len(work.pictures))
    complete = [ledger.finish_shard(job, shard, work.pictures[shard], resumed=True) for shard in sorted(work.finished)]
    if any(complete):
        queue.enqueue(job, [REDUCE])
    queue.enqueue(job, (f"{SHARD}{shard}" for shard in range(len(work.pictures)) if shard not in work.finished))


def run_shard(queue: JobQueue, job: str, shard: int, inputs: JobInputs) -> None:
    """Do one shard; who finishes the last one queues the reduction."""
    pictures = inputs.kind_of_job().shard(queue, job, shard, inputs)
    if _patiently(lambda: queue.ledger.finish_shard(job, shard, pictures)):
        queue.enqueue(job, [REDUCE])


def reduce_job(queue: JobQueue, job: str, inputs: JobInputs) -> None:
    """Bring the job to its end, or queue the further shards that it turned out to need."""
    more = inputs.kind_of_job().reduce(queue, job, inputs)
    if more is None:
        queue.succeed(job)
        return
    queue.ledger.extend_plan(job, sum(more.pictures), len(more.pictures))
    queue.ledger.take_back_attempt(job, REDUCE)
    done = queue.ledger.finished(job)
    complete = [
        queue.ledger.finish_shard(job, shard, more.pictures[shard], resumed=True)
        for shard in sorted(more.finished - done)
    ]
    if any(complete):
        queue.enqueue(job, [REDUCE])
    remaining = set(range(len(more.pictures))) - more.finished - done
    queue.enqueue(job, (f"{SHARD}{shard}" for shard in sorted(remaining)))


def _patiently(call: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + REDIS_PATIENCE_SECONDS
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(REDIS_PAUSE_SECONDS)


def _worker_name() -> str:
    current = rq.get_current_job()
    return (current and current.worker_name) or "unnamed"
