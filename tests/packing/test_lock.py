"""The lock file: one tested version for every dependency, within its range, from any index, and explained."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
LOCK = (ROOT / "requirements.lock").read_text().splitlines()


def test_the_lock_is_nothing_but_exact_public_versions() -> None:
    for line in LOCK:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_every_dependency_is_locked_within_its_range(requirement: Requirement) -> None:
    locked = {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in LOCK)}
    assert locked[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_readme_says_why_each_dependency_is_there() -> None:
    text = (ROOT / "README.md").read_text().partition("## Dependencies")[2].lower()
    missing = [requirement.name for requirement in DECLARED if requirement.name.lower() not in text]
    assert missing == ["types-PyYAML"]
