"""Admission and abandonment of pictures: a small table in shared memory that the API and the model worker both see.

A picture holds one row of the table from its admission to its answer. The table being full is the back-pressure. The
row's number matches the picture's ticket only as long as somebody waits for it: when a client hangs up or a deadline
passes, the row is cleared, and the worker then drops the picture before it is even decoded (LitServe 0.2.19 itself
goes on computing for clients that are gone, and its queue has no bound).
"""

from __future__ import annotations

import itertools
import math
import mmap
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from service.problems import Problem

ROW = 16  # two unsigned 64-bit words: ticket number, and id of the worker process that has begun
RATE_SAMPLE = 128


@dataclass(frozen=True)
class Ticket:
    """One admitted picture: its row, and the number that stands there while it is wanted."""

    row: int
    number: int


class Tickets:
    """The table, opened by every process that takes part.

    `serve`, `wanted` and `begin` are for the worker, the rest for the one API process.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
        self.capacity = len(self._words) * 8 // ROW - 1  # the last row names the worker that serves now
        self._free = deque(range(self.capacity))
        self._numbers = itertools.count(1)
        self._released: deque[float] = deque(maxlen=RATE_SAMPLE)

    @staticmethod
    def create(path: Path, capacity: int) -> None:
        """Write an empty table for at most `capacity` pictures at a time."""
        path.write_bytes(bytes(ROW * (capacity + 1)))

    @property
    def held(self) -> int:
        """Pictures admitted and not yet answered."""
        return self.capacity - len(self._free)

    def admit(self, count: int) -> list[Ticket]:
        """Rows for `count` pictures, all of them or none.

        Raises:
            Problem: there is no room now (429 with `Retry-After`), or there never could be.
        """
        if count > self.capacity:
            raise Problem(
                "invalid",
                f"{count} pictures are more than the service ever takes at a time ({self.capacity}).",
                field="pictures",
                remedy="Send fewer pictures per request.",
            )
        if count > len(self._free):
            raise Problem(
                "too-busy",
                f"{self.held} pictures are waiting, {count} more would exceed {self.capacity}.",
                remedy="Send the same request again after Retry-After seconds.",
                headers={"Retry-After": str(self._seconds_until_free(count - len(self._free)))},
            )
        tickets = [Ticket(self._free.popleft(), next(self._numbers)) for _ in range(count)]
        for ticket in tickets:
            self._words[2 * ticket.row + 1] = 0
            self._words[2 * ticket.row] = ticket.number
        return tickets

    def release(self, ticket: Ticket) -> None:
        """Nobody waits for this picture any more, be it answered or given up."""
        self._words[2 * ticket.row] = 0
        self._free.append(ticket.row)
        self._released.append(time.monotonic())

    @property
    def worker(self) -> int:
        """Process id of the worker that serves now, or served last; 0 before the first one."""
        return self._words[2 * self.capacity + 1]

    def begun(self, ticket: Ticket) -> bool:
        """Whether a worker has taken the picture out of the queue."""
        return self._words[2 * ticket.row + 1] != 0

    def lost(self, ticket: Ticket) -> bool:
        """Whether a worker began with the picture and is no longer there."""
        process = self._words[2 * ticket.row + 1]
        if process == 0:
            return False
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        return False

    def serve(self) -> None:
        """Note that this process is the worker from now on."""
        self._words[2 * self.capacity + 1] = os.getpid()

    def wanted(self, ticket: Ticket) -> bool:
        """Whether somebody still waits for the picture."""
        return self._words[2 * ticket.row] == ticket.number

    def begin(self, ticket: Ticket) -> None:
        """Note that this process has taken the picture out of the queue."""
        if self.wanted(ticket):
            self._words[2 * ticket.row + 1] = os.getpid()

    def _seconds_until_free(self, rows: int) -> int:
        """How long `rows` rows take to come free at the latest pace, 1 to 60 s."""
        if len(self._released) < 2:
            return 1
        pace = (time.monotonic() - self._released[0]) / (len(self._released) - 1)
        return min(60, max(1, math.ceil(rows * pace)))
