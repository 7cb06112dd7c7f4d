"""`cuecheck bank` as those who keep banks meet it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.conftest import RunningServer
from tests.service.test_bank_files import Make, as_file, elsewhere, key, place
from tests.service.test_cli import Done, Run, cuecheck

__all__ = ["cuecheck", "elsewhere", "key", "place"]


@pytest.fixture
def asking(cuecheck: Run, place: RunningServer, key: str) -> Callable[..., Done]:
    """Runs a command that asks the service whose banks may be changed."""
    return lambda *arguments: cuecheck(*arguments, CUECHECK_URL=place.url, CUECHECK_KEY=key)


def test_a_bank_is_carried_edited_and_compared(asking: Run, elsewhere: Make, tmp_path: Path) -> None:
    file = as_file(elsewhere(name="birds", title="Birds [red]and[/] bees"), tmp_path / "birds.zip")
    imported = asking("bank", "import", file)
    assert imported.code == 0, imported.stderr
    assert "birds@1" in imported.stdout

    stricter = asking("bank", "rethreshold", "birds", 5)
    assert stricter.code == 0, stricter.stderr
    assert "birds@2" in stricter.stdout
    assert "6 label" in stricter.stdout

    shown = asking("bank", "show", "birds").stdout
    for said in ("birds@2", "Birds [red]and[/] bees", "Apache-2.0", "of 5 people", "rethreshold of sha256:", "parent"):
        assert said in shown
    assert [line.split()[0] for line in asking("bank", "versions", "birds").stdout.splitlines()[1:]] == [
        "birds@2",
        "birds@1",
    ]
    found = json.loads(asking("bank", "diff", "birds@1", "birds", "--json").stdout)
    assert found["counts"] == {"label": 6, "kind": 6}

    renamed = asking("bank", "rename", "birds@1", "--as", "waders")
    assert "waders@1" in renamed.stdout
    merged = asking("bank", "merge", "birds@1", "waders", "--as", "all-birds")
    assert merged.code == 0, merged.stderr
    assert "no row differs" in merged.stdout

    exported = asking("bank", "export", "birds@1")
    assert exported.stdout.strip() == "birds@1.zip"
    assert "licence: Apache-2.0" in exported.stderr
    assert (tmp_path / "birds@1.zip").read_bytes() == file.read_bytes()
    assert list(tmp_path.glob(".bank-*")) == []


def test_a_refusal_is_exit_code_1_with_its_remedy(asking: Run, elsewhere: Make, tmp_path: Path) -> None:
    file = as_file(elsewhere(name="tiny", title="another"), tmp_path / "tiny.zip")
    refused = asking("bank", "import", file)
    assert refused.code == 1
    assert "--as NAME" in refused.stderr
    assert asking("bank", "import", file, "--as", "visitor2").code == 0
    for arguments in (
        ["export", "none"],
        ["versions", "none"],
        ["diff", "tiny", "none"],
        ["rethreshold", "tiny", "9"],
        ["rename", "tiny", "--as", "planted"],
        ["merge", "tiny", "planted", "--as", "x"],
    ):
        done = asking("bank", *arguments)
        assert done.code == 1, arguments
        assert "error:" in done.stderr
    assert list(tmp_path.glob(".bank-*")) == [], "a refused export leaves nothing"
    assert asking("bank", "rename", "tiny").code == 2
