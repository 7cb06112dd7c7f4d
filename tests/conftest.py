"""What every room's tests share: real pictures, a real Redis and settings that touch nothing outside the test."""

from __future__ import annotations

import os

# Before torch is imported anywhere: several test processes with a thread per core each would starve one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs.redis_server import RedisServer
from jobs.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent

WITH_US = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
"""Begins the command of a process that ends when the tests' own process does, however that ends."""

# A run in the background starts with Ctrl-C ignored, and so would every process that the tests start and send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)


def test_data(name: str) -> Path:
    """A file of real pictures from `CUECHECK_TEST_DATA` (default `../shared/data`); the test is skipped without it."""
    folder = Path(os.environ.get("CUECHECK_TEST_DATA", ROOT.parent / "shared" / "data"))
    path = folder / name
    if not path.exists():
        pytest.skip(f"{name} is not in {folder} (set CUECHECK_TEST_DATA)")
    return path


test_data.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One real Redis server for the whole run."""
    with tempfile.TemporaryDirectory(prefix="cuecheck-") as folder, RedisServer(Path(folder)) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of a Redis that is empty when the test begins."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a store of the test's own and the empty Redis; one CPU thread."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    return Settings(data_dir=tmp_path / "data", redis_url=redis_url, device="cpu", threads=1)
