"""Finds what was lost and queues it again: shards whose worker died, reductions nobody queued, whole lost jobs.

RQ 3.0.0 notices a dead worker a minute or more later, and fails a task that was lost between queue and worker. Here
a task counts as lost as soon as it is neither finished, nor queued, nor leased by a worker that is heard of. A task
queued once too often does no harm: the second worker finds it leased or finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from jobs.background import repeating
from jobs.queue import PLAN, REDUCE, SHARD, JobQueue
from jobs.restore import restore

log = structlog.get_logger()


class Sweeper:
    """Idle workers and the API each have one and call `sweep` every few seconds; a lock lets one of them do it."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._taken_before: dict[str, set[str]] = {}

    def sweep(self) -> int:
        """Look once, unless another sweeper did so within the last `sweep_seconds`.

        Returns:
            Number of tasks queued again.

        Raises:
            Unavailable: Redis or the store does not answer.
        """
        queue = self._queue
        if not queue.ledger.claim_sweep(queue.settings.sweep_seconds):
            return 0
        restore(queue)
        # In this order: a task on its way from queue to lease is seen in at least one of the places.
        queued, taken = queue.queued(), queue.taken()
        lost = 0
        for job in queue.ledger.active():
            tasks = self._due(job) - queued.get(job, set())
            stuck = taken.get(job, set()) & self._taken_before.get(job, set())
            tasks -= taken.get(job, set()) - stuck
            tasks -= queue.ledger.leased(job, tasks)
            if tasks:
                log.warning("queued again", job=job, tasks=sorted(tasks)[:10], count=len(tasks))
                queue.enqueue(job, sorted(tasks))
                queue.ledger.count(tasks_requeued=len(tasks))
            lost += len(tasks)
        self._taken_before = taken
        return lost

    def _due(self, job: str) -> set[str]:
        """The tasks that should be queued or running now."""
        ledger = self._queue.ledger
        shards = ledger.shards(job)
        if shards is None:
            return {PLAN}
        unfinished = set(range(shards)) - ledger.finished(job)
        return {f"{SHARD}{shard}" for shard in unfinished} or {REDUCE}


@contextmanager
def sweeping(queue: JobQueue) -> Iterator[None]:
    """Sweep from a thread for as long as the block lasts.

    A process that is always there does so: where workers are started by the length of the queue, nobody else is left
    to find what the last of them lost.
    """
    sweeper, pause = Sweeper(queue), queue.settings.sweep_seconds

    def step() -> float:
        sweeper.sweep()
        return pause

    with repeating("sweep", step, first=pause, after_failure=pause):
        yield
