"""`cuecheck encoder train`: from a zip to an encoder that the service has, run by a real worker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.records import JobState
from service.client import Client
from tests.conftest import ROOT
from tests.jobs.tiny_training import NETWORK, bright_and_dark
from tests.service.conftest import RunningServer
from tests.service.test_cli import Run, asking, cuecheck

__all__ = ["asking", "cuecheck"]

TINY = (
    *("--architecture", "small_resnet", "--arguments", json.dumps(NETWORK), "--size", "16", "--precision", "fp32"),
    *("--epsilon", "0.2", "--steps", "1", "--epochs", "3", "--batch-size", "16", "--learning-rate", "0.05"),
)


def printed_id(text: str) -> str:
    """The encoder's id in what was printed."""
    found = re.search(r"^ +id +([0-9a-f]{64})$", text, re.MULTILINE)
    assert found, text
    return found[1]


def test_from_a_zip_to_an_encoder_and_on_to_a_head(
    asking: Run, worker: subprocess.Popen[bytes], server: RunningServer, tmp_path: Path
) -> None:
    bright_and_dark(tmp_path / "light.zip")
    bright_and_dark(tmp_path / "held-out.zip", 10)
    asked = ("encoder", "train", "light.zip", "--name", "light", "--held-out", "held-out.zip", "--seed", "5", *TINY)
    done = asking(*asked)
    assert done.code == 0, done
    for epoch in (1, 2, 3):
        assert re.search(rf"^epoch {epoch}/3  clean +[\d.]+%  robust +[\d.]+%  loss [\d.]+$", done.stderr, re.MULTILINE)
    assert re.search(r"clean +[\d.]+% of 20 held-out pictures", done.stdout)
    assert re.search(r"robust +[\d.]+% of 20, l2 0.2", done.stdout)
    assert re.search(r"skipped +2", done.stdout)
    first = printed_id(done.stdout)

    bright_and_dark(tmp_path / "days.zip", 30, ("day", "night"))
    head = asking("encoder", "train", "days.zip", "--name", "days", "--head-of", first, "--title", "Day and night")
    assert head.code == 0, head
    assert "epoch" not in head.stderr
    second = printed_id(head.stdout)
    assert second != first
    assert "Day and night" in asking("encoder", "show", second).stdout
    with Client(server.url) as client:
        assert client.encoder(first).spec.classes == ("bright", "dark")
        assert client.encoder(second).spec.classes == ("day", "night")
        assert client.encoder(second).spec.card["request"]["route"] == "linear_head"


def test_without_waiting_the_jobs_id_is_printed(
    asking: Run, worker: subprocess.Popen[bytes], server: RunningServer, tmp_path: Path
) -> None:
    bright_and_dark(tmp_path / "light.zip")
    done = asking("encoder", "train", "light.zip", "--name", "light", *TINY, "--no-wait")
    assert done.code == 0, done
    job = done.stdout.strip()
    with Client(server.url) as client:
        *_, record = client.follow(job)
        assert (record.state, record.kind) == (JobState.SUCCEEDED, "training")
        dataset = record.request["dataset"]
    assert "training" in asking("jobs", "list").stdout
    again = asking("encoder", "train", dataset, "--name", "light", *TINY)
    assert again.code == 0, again
    assert "epoch 3/3" in again.stderr, "the epochs of one that is done are shown too"


def test_epochs_are_printed_as_they_end_and_a_cancelled_one_is_exit_code_1(
    server: RunningServer, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    bright_and_dark(tmp_path / "light.zip")
    asked = ["encoder", "train", str(tmp_path / "light.zip"), "--name", "light", *TINY, "--epochs", "5000"]
    command = [sys.executable, "-m", "service.cli", "--url", server.url, *asked]
    with (
        Client(server.url) as client,
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        assert any(line.startswith("epoch    2/5000") for line in process.stderr)
        job = next(client.trainings())
        assert job.state is JobState.RUNNING
        client.cancel(job.id)
        stdout, stderr = process.communicate()
    assert process.returncode == 1
    assert f"training {job.id} was cancelled" in stderr
    assert stdout == ""


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["none.zip", "--name", "x"], 2, "none.zip"),
        (["0" * 64], 2, "--name"),
        (["0" * 64, "--name", "x"], 1, "0000"),
        (["0" * 64, "--name", "Not A Name"], 2, "name"),
        (["0" * 64, "--name", "x", "--norm", "l1"], 2, "norm"),
        (["0" * 64, "--name", "x", "--held-out", "0.9"], 2, "held_out"),
        (["0" * 64, "--name", "x", "--held-out", "none.zip"], 2, "none.zip"),
        (["0" * 64, "--name", "x", "--batch-size", "9", "--processes", "2"], 2, "processes"),
        (["0" * 64, "--name", "x", "--arguments", "widths"], 2, "not JSON"),
        (["0" * 64, "--name", "x", "--arguments", "[1]"], 2, "arguments"),
        (["0" * 64, "--name", "x", "--head-of", "bank:tiny", "--from", "bank:tiny"], 2, "not both"),
    ],
)
def test_what_cannot_be_done_ends_with_its_exit_code(asking: Run, options: list[str], code: int, said: str) -> None:
    done = asking("encoder", "train", *options)
    assert done.code == code, done
    assert said in done.stderr
    assert done.stdout == ""
