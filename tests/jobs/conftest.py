"""A store, archives' limits and a small installation for the tests of this room."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobs.archives import ArchiveLimits
from jobs.audit_request import AuditRequest
from jobs.records import JobState
from jobs.redis_server import RedisServer
from jobs.settings import Settings
from jobs.store import Store
from tests.jobs.installation import Installation, furnish, work

QUICK = {"lease_seconds": 1.5, "sweep_seconds": 0.3}
"""What is lost is found within seconds."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty local store."""
    return Store(f"file://{tmp_path}/store")


@pytest.fixture
def limits() -> ArchiveLimits:
    """The default limits."""
    return ArchiveLimits.from_settings(Settings())


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AuditRequest]:
    """The data folder of a small installation, to be copied, and an audit of what is in it."""
    folder = tmp_path_factory.mktemp("furnished")
    settings = Settings(data_dir=folder / "data", device="cpu", threads=1)
    return settings.data_dir, furnish(settings, folder)


@pytest.fixture
def installation(settings: Settings, furnished: tuple[Path, AuditRequest]) -> Installation:
    """A small installation of the test's own with an empty Redis."""
    data, request = furnished
    shutil.copytree(data, settings.data_dir)
    return Installation(settings.model_copy(update=QUICK), request)


@pytest.fixture
def in_process(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The same, with tasks of this process using it too."""
    for name, value in installation.settings.environment().items():
        monkeypatch.setenv(name, value)
    return installation


@pytest.fixture(scope="session")
def undisturbed(
    furnished: tuple[Path, AuditRequest], redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The files of the audit when nothing goes wrong."""
    data, request = furnished
    folder = tmp_path_factory.mktemp("undisturbed") / "data"
    shutil.copytree(data, folder)
    settings = Settings(data_dir=folder, redis_url=redis_server.url, device="cpu", threads=1)
    installation = Installation(settings, request)
    installation.queue.ledger.client.flushall()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.environment().items():
            patch.setenv(name, value)
        job = installation.queue.submit(request).id
        work(installation.queue)
    assert installation.state(job) is JobState.SUCCEEDED, installation.queue.get(job)
    return installation.files(job)
