"""A claim on one task, kept alive by a thread for as long as the process that holds it lives."""

from __future__ import annotations

from contextlib import suppress
from threading import Event, Thread

from jobs.errors import Unavailable
from jobs.ledger import Ledger

RENEWALS = 3  # within one lease: two may be missed


class Lease:
    """Held by at most one live worker; a context manager.

    A thread renews it, not the work's own progress: one batch of a large network may take longer than a lease, and a
    worker that hangs is stopped by its time limit.

    Attributes:
        held: Whether this worker has the task.
    """

    def __init__(self, ledger: Ledger, job: str, task: str, worker: str, seconds: float) -> None:
        self.held = False
        self._ledger = ledger
        self._claim = (job, task, worker)
        self._seconds = seconds
        self._done = Event()
        self._thread = Thread(target=self._renew, name=f"lease-{task}", daemon=True)

    def __enter__(self) -> Lease:
        self.held = self._ledger.take_lease(*self._claim, self._seconds)
        if self.held:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.held:
            return
        self._done.set()
        self._thread.join()
        with suppress(Unavailable):  # it expires by itself
            self._ledger.release_lease(*self._claim)

    def _renew(self) -> None:
        while not self._done.wait(self._seconds / RENEWALS):
            with suppress(Unavailable):  # renewed when Redis is back
                self._ledger.renew_lease(*self._claim, self._seconds)
