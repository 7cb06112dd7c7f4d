"""`cuecheck` commands in processes of their own, as a user starts them, on a small random bank."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from jobs.settings import PREFIX, Settings
from tests.conftest import ROOT, WITH_US
from tests.service.conftest import free_port, wait_for

START_SECONDS = 180.0


@dataclass
class Command:
    """A `cuecheck` command in a process of its own, and the settings it has."""

    process: subprocess.Popen[bytes]
    settings: Settings
    log: Path

    @property
    def url(self) -> str:
        """Where its service answers."""
        return f"http://127.0.0.1:{self.settings.port}"

    def printed(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Raises with what it printed if its service does not become ready."""
        wait_for(lambda: "ready at" in self.printed(), START_SECONDS, self.printed, self.process)

    def ended(self, seconds: float = 90) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {seconds} s: {self.printed()}") from None

    def below(self) -> list[psutil.Process]:
        """All processes it has started, directly or not."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def left_behind(self) -> list[psutil.Process]:
        """Processes that have its settings and are not the command itself."""
        return [
            process
            for process in psutil.process_iter()
            if process.pid != self.process.pid and _data_dir_of(process) == str(self.settings.data_dir)
        ]


def _data_dir_of(process: psutil.Process) -> str | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.environ().get(f"{PREFIX}DATA_DIR")
    except psutil.Error:
        return None


Start = Callable[..., Command]


@pytest.fixture
def settings(tmp_path: Path, banks_dir: Path) -> Settings:
    """Of the stack under test."""
    return Settings(
        data_dir=tmp_path / "data",
        banks_dir=banks_dir,
        default_bank="tiny",
        port=free_port(),
        device="cpu",
        runtime="torch",
        threads=1,
    )


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts commands; what is left of them is ended after the test."""
    started: list[Command] = []

    def run(*arguments: str, redis_url: str | None = None) -> Command:
        log = tmp_path / f"{len(started)}-{arguments[0]}.txt"
        own = settings.environment()
        del own[f"{PREFIX}REDIS_URL"]  # it is for the stack to start one
        if redis_url is not None:
            own[f"{PREFIX}REDIS_URL"] = redis_url
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*WITH_US, sys.executable, "-m", "service.cli", *arguments],
                cwd=ROOT,
                env={**inherited, **own, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        command = Command(process, settings, log)
        started.append(command)
        return command

    yield run
    for command in started:
        if command.process.poll() is None:
            command.process.send_signal(signal.SIGTERM)
            try:
                command.process.wait(60)
            except subprocess.TimeoutExpired:
                command.process.kill()
        for process in command.left_behind():
            with _already_gone():
                process.kill()


@contextmanager
def _already_gone() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the stack's service."""
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=60) as client:
        yield client
