"""The whole of Cuecheck on one machine: Redis, the service and its workers as child processes of this one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import httpx
import psutil

from jobs.errors import JobsError, Unavailable
from jobs.redis_server import RedisServer
from jobs.settings import Settings

READY_SECONDS = 300.0
DRAIN_SECONDS = 60.0
"""Longest the service may take to answer what it has begun."""
FINISH_SECONDS = 15 * 60.0
"""Longest a worker may take to finish the shard it has begun; one cut off is done again after the next start."""
IDLE_END_SECONDS = 5.0
"""A worker that takes longer to end has something to finish."""
POLL_SECONDS = 0.1
LAST_LINES = 12


class ProcessEnded(JobsError):
    """A process of the stack ended by itself."""


class Stack:
    """Redis (unless the settings name one), the service and workers; a context manager.

    On leaving, the service first answers what it has begun, then the workers finish the shards they have begun, and
    Redis ends last. Interrupted a second time meanwhile, everything ends at once. Nothing is left running, whichever
    way it ends; where util-linux is installed, not even when this process is killed.
    """

    def __init__(
        self, settings: Settings, *, own_redis: bool, workers: int = 1, say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Plan a stack; nothing is started yet.

        Args:
            settings: Of the service and the workers. Where no number of threads is set, the cores are shared out.
            own_redis: Whether to start a Redis, rather than use the one that the settings name.
            workers: How many processes run audits, >= 1.
            say: Told what happens, one line at a time.
        """
        threads = settings.threads or max(1, (os.cpu_count() or 1) // (workers + 1))
        self.redis = RedisServer(settings.data_dir / "redis") if own_redis else None
        url = settings.redis_url if self.redis is None else self.redis.url
        self.settings = settings.model_copy(update={"redis_url": url, "threads": threads})
        self.logs = settings.data_dir / "logs"
        self.url = local_url(settings)
        self._say = say
        self._service = self._child("service", "serve")
        self._workers = [self._child(f"worker-{number}", "worker") for number in range(1, workers + 1)]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until the service is ready.

        Raises:
            JobsError: Something did not start; the message holds its last log lines.
        """
        if self.redis is not None:
            self.redis.start()
        for child in (self._service, *self._workers):
            child.start()
        self._wait_until_ready()

    def is_ready(self) -> bool:
        """Whether the service says that it can answer."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False

    def runs_on(self) -> str:
        """Device, provider, runtime and precision that the service really uses, in words."""
        workers = httpx.get(f"{self.url}/readyz", timeout=5).json()["workers"]
        return "; ".join(
            f"{worker['device']} ({worker['provider']}, {worker['runtime']}, {worker['precision']})"
            for worker in workers
        )

    def watch(self) -> None:
        """Block for as long as everything runs.

        Raises:
            ProcessEnded: One of the processes ended by itself; the message holds its last log lines.
        """
        while True:
            self._check()
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End everything, in order."""
        try:
            self._service.end(DRAIN_SECONDS)
            for worker in self._workers:
                worker.ask_to_end()
            busy = [worker for worker in self._workers if not worker.ended_within(IDLE_END_SECONDS)]
            if busy:
                self._say("The workers finish what they have begun. Once more Ctrl-C ends them at once.")
            deadline = time.monotonic() + FINISH_SECONDS
            for worker in busy:
                worker.ended_within(deadline - time.monotonic())
        except KeyboardInterrupt:
            self._say("Ended at once; audits that ran go on after the next start.")
        finally:
            for child in (self._service, *self._workers):
                child.kill()
            if self.redis is not None:
                self.redis.stop()

    def _child(self, name: str, command: str) -> _Child:
        arguments = [sys.executable, "-m", "service.cli", command]
        return _Child(name, arguments, self.settings.environment(), self.logs / f"{name}.log")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            self._check()
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The service was not ready within {READY_SECONDS:.0f} s. {self._service.last_words()}"
                )
            time.sleep(POLL_SECONDS)

    def _check(self) -> None:
        for child in (self._service, *self._workers):
            code = child.exit_code()
            if code is not None:
                raise ProcessEnded(f"The {child.name} ended with exit code {code}. {child.last_words()}")
        if self.redis is not None and not self.redis.is_running:
            raise ProcessEnded(f"Redis ended. Its log is {self.redis.folder / 'redis.log'}.")


class _Child:
    """One process of the stack, in a session of its own: a terminal's Ctrl-C reaches only the one in charge."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._arguments = arguments
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, its output going to its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        watched = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*watched, *self._arguments],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """Its exit code, or None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    def ask_to_end(self) -> None:
        """Ask it to finish what it has begun and then to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, seconds: float) -> None:
        """Ask it to end, and wait that long."""
        self.ask_to_end()
        self.ended_within(seconds)

    def kill(self) -> None:
        """End at once what is left of it and of the processes it started."""
        if self._process is None:
            return
        left = [process for process in _descendants(self._process.pid) if process.is_running()]
        for process in left:
            with _gone_is_fine():
                process.kill()
        self._process.wait()
        psutil.wait_procs(left, timeout=5)

    def last_words(self) -> str:
        """Where its log is, and the end of it."""
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:] if self.log.exists() else []
        return f"Its log, {self.log}, ends with:\n" + "\n".join(f"  {line}" for line in lines)


def _descendants(pid: int) -> list[psutil.Process]:
    """The process itself, all below it, and all of its session: those whose parent has died stay in that."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with _gone_is_fine():
            if process.pid == pid or os.getsid(process.pid) == pid:
                found[process.pid] = process
                found.update({child.pid: child for child in process.children(recursive=True)})
    return list(found.values())


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
        yield


def local_url(settings: Settings) -> str:
    """Where the service that the settings describe is reached from its own machine."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://{host}:{settings.port}"


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end what runs inside just as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
