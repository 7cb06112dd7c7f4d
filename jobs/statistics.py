"""What stands in the queue, who works on it and what all workers have done, for metrics and the ready check."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, Field

from jobs.queue import JobQueue
from jobs.records import JobState
from jobs.redis_client import answering

SKIPPED_PREFIX = "pictures_skipped:"


class WorkerInfo(BaseModel):
    """One living worker."""

    name: str
    task: str | None = Field(description="`<audit>-<task>-<start>` of what it runs; None while it is idle.")
    started: datetime = Field(description="When the worker was started, UTC.")


class Statistics(BaseModel):
    """The counters only grow, for as long as this Redis keeps its data."""

    jobs: dict[JobState, int] = Field(description="Jobs in each state.")
    queued_tasks: int = Field(description="Tasks that wait for a worker.")
    oldest_seconds: float = Field(description="Age of the oldest job that is queued; 0 without one.")
    workers: list[WorkerInfo] = Field(description="Workers heard of within the last half minute.")
    shards: int = Field(description="Shards finished.")
    shard_seconds: float = Field(description="Time they took, models loaded included.")
    pictures_audited: int = Field(description="Pictures that went through a classifier.")
    pictures_skipped: dict[str, int] = Field(description="Pictures left out, by reason.")
    tasks_requeued: int = Field(description="Tasks that were lost, with a worker or on their way, and queued again.")


@answering
def read_statistics(queue: JobQueue) -> Statistics:
    """All of it as of now.

    Raises:
        Unavailable: Redis does not answer.
    """
    ledger = queue.ledger
    counters = ledger.counters()
    records = [record for job in ledger.active() if (record := ledger.read(job)) is not None]
    waiting = [record.created for record in records if record.state is JobState.QUEUED]
    return Statistics(
        jobs=ledger.states(),
        queued_tasks=queue.rq.count,
        oldest_seconds=(datetime.now(UTC) - min(waiting)).total_seconds() if waiting else 0.0,
        workers=[WorkerInfo.model_validate_json(worker) for worker in ledger.workers()],
        shards=int(counters.get("shards", 0)),
        shard_seconds=counters.get("shard_seconds", 0.0),
        pictures_audited=int(counters.get("pictures_audited", 0)),
        pictures_skipped={
            name.removeprefix(SKIPPED_PREFIX): int(value)
            for name, value in counters.items()
            if name.startswith(SKIPPED_PREFIX)
        },
        tasks_requeued=int(counters.get("tasks_requeued", 0)),
    )
