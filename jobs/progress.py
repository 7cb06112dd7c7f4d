"""How a running shard says how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable

from jobs.errors import Unavailable
from jobs.ledger import Ledger

REDIS_PAUSE_SECONDS = 1.0


def progress_of(ledger: Ledger, job: str, shard: int) -> Callable[[int], None]:
    """Reports pictures done; while Redis is gone the shard goes on unreported, asking again every second.

    The function raises `Cancelled` once the job was cancelled or failed.
    """
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
