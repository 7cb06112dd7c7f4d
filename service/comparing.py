"""Comparing audits within a request: one at a time, as each reads the rows of two whole audits."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from jobs.comparison import Comparison
from jobs.comparison_files import comparison_of
from jobs.queue import JobQueue
from service.job_submission import succeeded
from service.problems import Problem

_free = threading.Lock()


def compared(queue: JobQueue, audit: str, baseline: str, others: Sequence[str] = ()) -> Comparison:
    """The comparison of audits that have succeeded, kept once it was made.

    Raises:
        NotFound, Invalid: as `comparison_of`, or there is no such audit.
        Problem: `conflict` where one has not succeeded, `too-busy` while another comparison is being made.
    """
    for one in (audit, baseline, *others):
        succeeded(queue.get(one, "audit"), "report")
    if not _free.acquire(timeout=1):
        raise Problem(
            "too-busy",
            "Another comparison is being made.",
            remedy="Ask again soon: what was compared once is answered at once.",
            headers={"Retry-After": "10"},
        )
    try:
        return comparison_of(queue.store, queue.settings, audit, baseline, others)
    finally:
        _free.release()
