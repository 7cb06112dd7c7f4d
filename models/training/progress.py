"""Progress of long work: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0


class Advance(Protocol):
    """Called after each piece of work with a short note about it, such as the loss."""

    def __call__(self, note: str = "") -> None: ...


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Show how far a loop of ``total`` pieces is."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}")) as bar:
            task = bar.add_task(title, total=total, note="")

            def advance_bar(note: str = "") -> None:
                bar.update(task, advance=1, note=note)

            yield advance_bar
        return

    started = printed = time.monotonic()
    done = 0

    def advance_line(note: str = "") -> None:
        nonlocal done, printed
        done += 1
        now = time.monotonic()
        if done == total or now - printed >= SECONDS_BETWEEN_LINES:
            printed = now
            print(f"{title}: {done}/{total} {now - started:.0f} s {note}".rstrip(), file=sys.stderr, flush=True)

    yield advance_line
