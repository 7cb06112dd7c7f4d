"""A worker: takes one task at a time off the queue and runs it in a process of its own, forked for it.

The parent only waits, reports and sweeps. It may import torch, but never runs an operation: a fork after a
multi-threaded operation hangs (seen with torch 2.13).

SIGTERM or Ctrl-C lets the running task end, then the worker; a second one ends both at once.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import redis
import rq
import structlog
from rq.exceptions import StopRequested

from jobs import tasks
from jobs.errors import Unavailable
from jobs.logs import configure_logs
from jobs.queue import JobQueue
from jobs.records import WorkerInfo
from jobs.settings import Settings
from jobs.sweeper import Sweeper
from jobs.version import code_version

log = structlog.get_logger()

BEAT_SECONDS = 5
"""Between two signs of life of a worker, idle or busy."""

ALIVE_SECONDS = 30
"""A worker not heard of for this long counts as dead."""

MAINTENANCE_SECONDS = 60
RECONNECT_SECONDS = 1.0
_RQ_MARGIN_SECONDS = 15  # RQ 3.0.0 waits worker_ttl - 15 s for a task before it looks around

PRELOADED = (tasks,)
"""Imported before the fork: torch and the rest are loaded once, not for every task."""


class AuditWorker(rq.Worker):
    """RQ's forking worker that sweeps while it waits and outlives a Redis that goes away while a task runs."""

    max_connection_wait_time = 5.0  # RQ 3.0.0 would grow its pauses to a minute

    def __init__(self, queue: JobQueue, name: str) -> None:
        super().__init__(
            [queue.rq],
            name=name,
            connection=queue.rq.connection,
            serializer="json",
            worker_ttl=_RQ_MARGIN_SECONDS + BEAT_SECONDS,
            job_monitoring_interval=BEAT_SECONDS,
            maintenance_interval=MAINTENANCE_SECONDS,
        )
        self.stopped = False
        self._started = datetime.now(UTC)
        self._queue = queue
        self._sweeper = Sweeper(queue)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Report, and sweep on the way; what cannot be done while Redis or the store is gone is done later."""
        super().heartbeat(timeout, pipeline)
        if self.is_horse:
            return
        self._report()
        try:
            self._sweeper.sweep()
        except StopRequested:  # a signal came meanwhile
            raise
        except Exception as error:  # whatever it was, the next look may succeed, and there is other work to do
            log.warning("could not sweep", reason=str(error))

    def prepare_execution(self, job: Any) -> Any:
        """Report what is begun."""
        execution = super().prepare_execution(job)
        self._report()
        return execution

    def maintain_heartbeats(self, job: Any, execution: Any) -> None:
        """Report while a task runs. RQ 3.0.0 leaves its loop, and the task alone, when Redis does not answer here."""
        try:
            super().maintain_heartbeats(job, execution)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            log.warning("Redis does not answer", reason=str(error))

    def handle_work_horse_killed(self, job: Any, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """Give up the lease of a task whose process was killed, so that its retry need not wait for it to expire."""
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)
        audit, task = job.args
        with suppress(Unavailable):
            self._queue.ledger.release_lease(audit, task, self.name)

    def handle_warm_shutdown_request(self) -> None:
        """SIGTERM or Ctrl-C came."""
        self.stopped = True
        super().handle_warm_shutdown_request()

    def teardown(self) -> None:
        """Sign off; a Redis that is gone forgets the worker by itself."""
        with suppress(redis.ConnectionError, redis.TimeoutError, Unavailable):
            super().teardown()
            if not self.is_horse:
                self._queue.ledger.forget_worker(self.name)

    def _report(self) -> None:
        task = next((execution.job_id for execution in self.executions.values()), None)
        with suppress(Unavailable):
            self._queue.ledger.beat(WorkerInfo(name=self.name, task=task, started=self._started), ALIVE_SECONDS)


def run_worker(
    settings: Settings, *, name: str | None = None, burst: bool = False, max_jobs: int | None = None
) -> None:
    """Work until SIGTERM or Ctrl-C, or with `burst` until the queue is empty.

    Args:
        settings: Handed on to the tasks through the environment.
        name: Begins the worker's name; the host's where None. What follows makes it unique.
        burst: End when there is nothing to do.
        max_jobs: End after that many tasks.

    Raises:
        Unavailable: In a burst, Redis cannot be reached. Otherwise the worker waits for it.
    """
    configure_logs(settings)
    os.environ.update(settings.environment())
    code_version()  # of what is loaded now, should the files change later
    queue = JobQueue(settings)
    queue.store.clear_scratch()
    with suppress(StopRequested):  # a signal that comes while no task is waited for
        while True:
            try:
                worker = AuditWorker(queue, f"{name or socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}")
                worker.work(burst=burst, max_jobs=max_jobs, logging_level="WARNING")
                if burst or max_jobs is not None or worker.stopped:
                    return
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if burst:
                    raise Unavailable(f"Redis does not answer: {error}") from error
                log.warning("Redis does not answer", reason=str(error))
            time.sleep(RECONNECT_SECONDS)
