"""The service's processes from start to end: what starts them, and how they stop without losing a request."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from pathlib import Path
from threading import Thread
from types import FrameType

import structlog

from jobs.errors import Invalid
from jobs.logs import configure_logs
from jobs.settings import Settings
from service.app import Server, build_server
from service.auth import announce, is_loopback
from service.limits import Connection
from service.orphans import end_with_parent

log = structlog.get_logger(__name__)

BINDABLE = {"0.0.0.0": "0.0.0.0", "127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::": "::"}


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or Ctrl-C; what is in flight then is finished first, and nothing is left behind.

    Call it once, from the main thread of a process made for it.

    Raises:
        Invalid: the host is none that LitServe (0.2.19) binds, or there is no such default bank.
        ModelsError: the default bank is damaged.
        JobsError: the model worker could not start; the log says why.
    """
    if settings.host not in BINDABLE:
        raise Invalid(
            f"The service cannot be bound to {settings.host!r}.", field="host", remedy=f"Use {', '.join(BINDABLE)}."
        )
    configure_logs(settings)
    with tempfile.TemporaryDirectory(prefix="cuecheck-serve-") as folder:
        server = build_server(settings, Path(folder))
        announce(settings, server.app.state.keys)
        os.register_at_fork(after_in_child=end_with_parent)
        _stop_gently(server)
        log.info("starting", host=settings.host, port=settings.port, loopback=is_loopback(settings.host))
        server.run(
            host=BINDABLE[settings.host],
            port=settings.port,
            num_api_servers=1,
            log_level=settings.log_level,
            generate_client_file=False,
            access_log=False,
            http=Connection,
            server_header=False,
            timeout_keep_alive=30,
        )
    log.info("stopped")


def _stop_gently(server: Server) -> None:
    """Handle SIGTERM and SIGINT in the main process, and in those forked from it.

    LitServe 0.2.19 handles Ctrl-C alone: SIGTERM ends its main process at once and leaves the others behind, serving.
    """
    main = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == main:
            # In a thread: the main one may be in the middle of a call to the manager process that is asked here too.
            Thread(target=server.stop, name="stop").start()
        elif multiprocessing.current_process().name.startswith("LitServer"):
            raise SystemExit(0)  # the API process; while it serves, uvicorn handles the signal itself
        # else the manager process, which holds the queues: it is ended last, by the main process

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
