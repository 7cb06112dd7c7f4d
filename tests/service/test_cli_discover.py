"""`cuecheck bank discover`: from a file to the draft's page, run by a real worker."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jobs.records import JobState
from service.client import Client
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer
from tests.service.material import archive, classifier, spec
from tests.service.test_cli import Run, asking, cuecheck

__all__ = ["asking", "cuecheck"]

QUICK = ("--encoder", "bank:tiny", "--channels", "2", "--exemplars", "2", "--attack-steps", "2", "--grouping", "label")


def test_a_discovery_from_a_file_to_its_page(
    asking: Run, worker: subprocess.Popen[bytes], server: RunningServer, tmp_path: Path
) -> None:
    (tmp_path / "pictures.zip").write_bytes(archive(5, seed=80))
    (tmp_path / "words.json").write_text('{"ant": "A small insect."}')
    asked = (*QUICK, "--class", "ant", "--class", "bee", "--descriptions", "words.json", "--seed", "3")
    done = asking("bank", "discover", "pictures.zip", *asked)
    assert done.code == 0, done
    job = done.stdout.rpartition(f"draft: {server.url}/drafts/")[2].strip()
    with Client(server.url) as client:
        record, draft = client.job(job), client.draft(job)
        assert record.state is JobState.SUCCEEDED
        assert [one.name for one in draft.classes] == ["ant", "bee"]
        for one in draft.classes:
            (line,) = [line for line in done.stdout.splitlines() if line.startswith(one.name)]
            assert line.split()[1:4] == [str(one.index), str(one.group), str(one.candidates)]
            assert one.candidates > 0
            found = client.draft_class(job, one.name)
            assert found.pictures == 5
            for candidate in found.candidates:
                assert client.draft_picture(candidate.panel_href).startswith(b"\xff\xd8")
            assert found.strip_href is not None
            assert client.draft_picture(found.strip_href).startswith(b"\xff\xd8")
        assert client.draft_class(job, "ant").description == "A small insect."
    assert draft.request["seed"] == 3
    assert "discovery" in asking("jobs", "list").stdout
    again = asking("bank", "discover", draft.dataset, *asked, "--no-wait")
    assert again.stdout.strip() == job


def test_what_tells_a_classifiers_failures_joins_in(
    asking: Run, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    (tmp_path / "pictures.zip").write_bytes(archive(5, seed=80))
    classifier(tmp_path / "model.onnx")
    (tmp_path / "model.spec.json").write_text(spec(name="cli").model_dump_json(exclude_none=True))
    done = asking("bank", "discover", "pictures.zip", *QUICK, "--class", "ant", "--classifier", "model.onnx")
    assert done.code == 0, done


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["none.zip", "--encoder", "bank:tiny"], 2, "none.zip"),
        (["pictures.zip"], 2, "--encoder"),
        (["0" * 64, "--encoder", "bank:tiny"], 1, "0000"),
        (["0" * 64, "--encoder", "bank:tiny", "--channels", "-1"], 2, "channels"),
        (["0" * 64, "--encoder", "bank:tiny", "--grouping", "none"], 2, "grouping"),
        (["0" * 64, "--encoder", "bank:tiny", "--map", "ant"], 2, "THEIRS=OURS"),
        (["0" * 64, "--encoder", "bank:tiny", "--descriptions", "words.txt"], 2, "not JSON"),
    ],
)
def test_what_cannot_be_done_ends_with_its_exit_code(
    asking: Run, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    (tmp_path / "words.txt").write_text("no JSON")
    done = asking("bank", "discover", *options)
    assert done.code == code, done
    assert said in done.stderr
    assert set(CLASSES).isdisjoint(done.stdout.split())
