"""`cuecheck demo`: overlays, a progress bar, the headline and a report, and nothing left running."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from jobs.report import Report
from tests.e2e.commands import Start
from tests.models.conftest import CLASSES
from tests.service.material import archive, classifier, spec


def test_the_demonstration_shows_everything_and_leaves_nothing_running(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pictures.zip").write_bytes(archive(4, seed=80))
    model = classifier(tmp_path / "model.onnx")
    (tmp_path / "model.spec.json").write_text(spec(name="demo").model_dump_json(exclude_none=True))
    out = tmp_path / "out"
    arguments = ["--bank", "tiny", "--data", str(tmp_path / "pictures.zip"), "--classifier", str(model)]
    command = start("demo", *arguments, "--out", str(out))
    assert command.ended(240) == 0, command.printed()

    overlays = sorted((out / "overlays").iterdir())
    assert len(overlays) == len(CLASSES)
    assert all(Image.open(file).size[0] > 3 * 256 for file in overlays)
    report = Report.model_validate_json((out / "report.json").read_bytes())
    assert report.classifier.name == "demo"
    printed = command.printed()
    assert report.answer in " ".join(printed.split())
    assert str(out / "report.html") in printed
    assert re.search(r"audit succeeded.* 20/20", printed)
    assert "pictures.zip, as given" in printed, "what it runs on has a source"
    assert "Traceback" not in printed
    assert command.left_behind() == []


def test_a_bank_without_pictures_says_what_to_name(start: Start, tmp_path: Path) -> None:
    command = start("demo", "--bank", "tiny", "--out", str(tmp_path / "out"))
    assert command.ended() == 1
    assert "DATA=" in command.printed()
    assert "Traceback" not in command.printed()
