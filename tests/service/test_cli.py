"""The command line: what it prints, what it leaves, and its exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.report import Report
from jobs.settings import PREFIX
from service.cli import main
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer, encoded, free_port, picture
from tests.service.material import archive, classifier, spec


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    code: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def cuecheck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder, in this process: the imports of a fresh one take longer than most commands."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)

    def run(*arguments: object, **variables: str) -> Done:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["cuecheck", *map(str, arguments)])
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as exit_:
                main()
        printed = capfd.readouterr()
        return Done(int(exit_.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def asking(cuecheck: Run, server: RunningServer) -> Run:
    """Runs a command that asks the shared service."""

    def run(*arguments: object) -> Done:
        return cuecheck(*arguments, CUECHECK_URL=server.url)

    return run


def test_help_names_every_command_and_the_exit_codes(cuecheck: Run) -> None:
    text = cuecheck("--help").stdout
    nouns = ("jobs", "bank", "dataset", "classifier", "keys", "planted")
    for command in ("up", "serve", "worker", "demo", "masks", "audit", *nouns):
        assert re.search(rf"\b{command}\b", text)
    assert "130 interrupted" in text


def test_wrong_usage_is_exit_code_2(cuecheck: Run) -> None:
    for arguments in (["nonsense"], ["audit"], ["up", "--workers", "0"], ["audit", "no-such.onnx", "none.zip"]):
        done = cuecheck(*arguments)
        assert done.code == 2, done


def test_a_service_that_is_not_there_is_exit_code_3(cuecheck: Run) -> None:
    done = cuecheck("jobs", "list", CUECHECK_PORT=str(free_port()))
    assert done.code == 3
    assert "cannot be reached" in done.stderr


def test_a_refusal_is_exit_code_1_with_the_remedy(asking: Run) -> None:
    done = asking("bank", "show", "nowhere")
    assert done.code == 1
    assert "nowhere" in done.stderr
    assert "remedy:" in done.stderr


def test_keys_work_without_the_service(cuecheck: Run, tmp_path: Path) -> None:
    here = {"CUECHECK_DATA_DIR": str(tmp_path / "data")}
    token = cuecheck("keys", "create", "nightly", "--scope", "infer", "--scope", "audit", **here).stdout.strip()
    identifier = token.split("_")[1]
    listed = cuecheck("keys", "list", **here).stdout
    assert identifier in listed
    assert "nightly" in listed
    assert token not in listed
    assert cuecheck("keys", "revoke", identifier, **here).code == 0
    assert identifier not in cuecheck("keys", "list", **here).stdout
    assert cuecheck("keys", "create", "x", "--scope", "everything", **here).code == 2


def test_banks(asking: Run) -> None:
    assert "tiny (default)" in asking("bank", "list").stdout
    shown = asking("bank", "show", "tiny").stdout
    assert all(name in shown for name in CLASSES)
    assert "background" in asking("bank", "show", "tiny", "--class", "ant").stdout


def test_masks_leaves_an_overlay_of_every_picture(asking: Run, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(encoded(picture(60, 90, seed=number)))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    done = asking("masks", "0.png", "broken.png", "1.png", "--class", "ant", "--out", "shown")
    assert done.code == 1
    assert "broken.png" in done.stderr
    assert "contribution" in done.stdout
    assert sorted(file.name for file in (tmp_path / "shown").iterdir()) == ["0-ant.png", "1-ant.png"]
    overlay = np.asarray(Image.open(tmp_path / "shown" / "0-ant.png").convert("RGB"), dtype=int)
    height, width = overlay.shape[:2]
    assert width > 3 * 90
    coloured = np.ptp(overlay[: height // 2, width // 3 + 10 :], axis=2) > 60
    assert coloured.any(), "no mask is seen on the grey picture"


def test_uploads_are_listed_shown_and_deleted(asking: Run, tmp_path: Path) -> None:
    (tmp_path / "pairs.zip").write_bytes(archive(2, seed=60))
    classifier(tmp_path / "model.onnx")
    (tmp_path / "model.spec.json").write_text(spec(name="cli").model_dump_json(exclude_none=True))
    for noun, file in (("dataset", "pairs.zip"), ("classifier", "model.onnx")):
        done = asking(noun, "upload", file)
        identifier = done.stdout.strip()
        assert re.fullmatch("[0-9a-f]{64}", identifier), done
        assert identifier in asking(noun, "list").stdout.replace("\n", "")
        assert "ant" in asking(noun, "show", identifier).stdout
        assert asking(noun, "delete", identifier).code == 0
        assert asking(noun, "show", identifier).code == 1


def test_names_are_shown_as_they_are(asking: Run, tmp_path: Path) -> None:
    name = "[/x] [red]pictures[/].zip"
    (tmp_path / "pictures.zip").write_bytes(archive(1, ("ant",), seed=96))
    sent = asking("dataset", "upload", "pictures.zip", "--name", name)
    assert sent.code == 0, sent
    listed = asking("dataset", "list")
    assert listed.code == 0, listed
    assert name in listed.stdout
    assert asking("dataset", "delete", sent.stdout.strip()).code == 0


def test_an_audit_from_files_to_the_report(asking: Run, worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "pictures.zip").write_bytes(archive(5, seed=61))
    classifier(tmp_path / "model.onnx")
    (tmp_path / "model.spec.json").write_text(spec(name="cli").model_dump_json(exclude_none=True))
    done = asking("audit", "model.onnx", "pictures.zip", "--class", "ant", "--seed", "3", "--out", "found")
    assert done.code == 0, done
    report = Report.model_validate_json((tmp_path / "found" / "report.json").read_bytes())
    assert report.parameters.seed == 3
    assert report.parameters.classes == ["ant"]
    assert (tmp_path / "found" / "report.html").read_text().lstrip().startswith("<!")
    assert report.answer in " ".join(done.stdout.split())
    assert report.audit in asking("jobs", "list").stdout
    assert "succeeded" in asking("jobs", "show", report.audit).stdout
    assert asking("jobs", "follow", report.audit).code == 0
    assert asking("jobs", "cancel", report.audit).code == 1
    out_of_range = asking("audit", report.classifier.id, report.dataset.id, "--sigma", "-1")
    assert out_of_range.code == 2
    assert "sigma" in out_of_range.stderr


def test_planted_pictures_can_be_exported(cuecheck: Run, tmp_path: Path) -> None:
    assert cuecheck("planted", "export", "a.zip", "--per-class", "1", "--seed", "5").code == 0
    assert cuecheck("planted", "export", "b.zip", "--per-class", "1", "--seed", "5").code == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as members:
        assert len({name.partition("/")[0] for name in members.namelist()}) == len(members.namelist()) >= 8
