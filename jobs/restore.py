"""Fills an empty Redis, new or flushed, from the store: ended jobs as they ended, the others queued again."""

from __future__ import annotations

from itertools import chain

import structlog
from pydantic import ValidationError

from jobs.errors import NotFound
from jobs.kinds import FOLDERS
from jobs.queue import JobQueue

log = structlog.get_logger()


def restore(queue: JobQueue) -> int:
    """Make every job of the store known to Redis, once in that Redis's life.

    Returns:
        Number of jobs in the store; 0 where it was done before.
    """
    if not queue.ledger.needs_restoring():
        return 0
    count = 0
    for job in chain.from_iterable(queue.store.list(folder) for folder in FOLDERS.values()):
        try:
            queue.enter(job)
        except (NotFound, ValidationError) as error:  # one damaged job does not hold up the others
            log.warning("job cannot be restored", job=job, reason=str(error))
            continue
        count += 1
    queue.ledger.mark_restored()
    if count:
        log.info("jobs restored from the store", count=count)
    return count
