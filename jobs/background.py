"""Something that is done again and again beside everything else a process does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import structlog

log = structlog.get_logger()

LONGEST_GOODBYE = 1.0  # seconds; a step that hangs on a dead Redis does not hold its process up


@contextmanager
def repeating(what: str, step: Callable[[], float], *, first: float, after_failure: float) -> Iterator[None]:
    """Repeat a step from a thread for as long as the block lasts.

    Args:
        what: it does, for the log, e.g. "sweep".
        step: returns the seconds until the next one. What it raises is logged, and the next try may succeed.
        first: seconds until the first one.
        after_failure: seconds until the next one where a step raises.
    """
    ended = Event()

    def go_on() -> None:
        pause = first
        while not ended.wait(pause):
            try:
                pause = step()
            except Exception as error:
                pause = after_failure
                log.warning(f"could not {what}", reason=str(error))

    thread = Thread(target=go_on, name=what, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LONGEST_GOODBYE)
