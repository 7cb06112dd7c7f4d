"""Processes of the server that end with the one that started them, even if it was killed and could not tell them."""

from __future__ import annotations

import os
import time
from threading import Thread

LOOK_SECONDS = 1.0


def end_with_parent() -> None:
    """Watch this process's parent from a thread, and end at once when it is gone.

    The kernel's own signal for this (PR_SET_PDEATHSIG) goes by the parent's thread, and LitServe restarts workers from
    a thread that ends before they do.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    Thread(target=watch, name="orphan-watch", daemon=True).start()
