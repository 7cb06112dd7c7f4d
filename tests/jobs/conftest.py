"""A store and archives for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.archives import ArchiveLimits
from jobs.settings import Settings
from jobs.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty local store."""
    return Store(f"file://{tmp_path}/store")


@pytest.fixture
def limits() -> ArchiveLimits:
    """The default limits."""
    return ArchiveLimits.from_settings(Settings())
