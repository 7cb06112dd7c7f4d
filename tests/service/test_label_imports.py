"""`cuecheck bank import-salient` and `import-components` as a user meets them."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from jobs.archives import ArchiveLimits
from jobs.datasets import import_archive
from jobs.settings import Settings
from jobs.store import Store
from models.bank import Bank
from models.planted.archive import write_archive
from service.cli import main
from tests.jobs.test_label_imports import answers, npy
from tests.models import salient_csv

PLANTED = Bank.load(Path(salient_csv.__file__).parents[2] / "models" / "banks" / "planted")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Id of a planted data set in the store of the settings."""
    for name, value in {
        "DATA_DIR": str(tmp_path / "data"),
        "DEVICE": "cpu",
        "RUNTIME": "torch",
        "THREADS": "1",
    }.items():
        monkeypatch.setenv(f"CUECHECK_{name}", value)
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    write_archive(tmp_path / "planted.zip", 3, 6)
    limits = ArchiveLimits.from_settings(settings)
    return import_archive(Store.from_settings(settings), tmp_path / "planted.zip", limits, "planted").id


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cuecheck", "bank", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_labels_become_a_bank_and_the_counts_are_shown(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    salient_csv.write(tmp_path / "mine.csv", answers(PLANTED))
    wanted = ("--encoder", "bank:planted", "--dataset", dataset, "--grouping", "label")
    assert run(monkeypatch, "import-salient", "mine.csv", *wanted, "--name", "mine") == 0
    shown = capfd.readouterr()
    assert "bank mine: 50 rows" in shown.out
    assert "spurious pairs" in shown.out
    assert "mean position 0." in shown.out
    assert Bank.load(tmp_path / "data" / "banks" / "mine").name == "mine"
    assert run(monkeypatch, "import-salient", "mine.csv", *wanted, "--name", "mine") == 1
    assert "There is a bank 'mine' already" in capfd.readouterr().err


def test_components_become_a_bank_and_a_hostile_list_runs_nothing(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = npy(tmp_path, {7: [1, 0], 3: [0]})
    wanted = ("--encoder", "bank:planted", "--dataset", dataset)
    assert run(monkeypatch, "import-components", str(file), *wanted, "--name", "mine") == 0
    shown = capfd.readouterr()
    assert "bank mine: 3 rows" in shown.out
    assert "nothing tells whether" in shown.err

    class Trap:
        def __reduce__(self) -> object:
            return Path.touch, (tmp_path / "trap",)

    start = file.read_bytes()[:128]
    file.write_bytes(start + pickle.dumps(Trap()))
    assert run(monkeypatch, "import-components", str(file), *wanted, "--name", "hostile") == 1
    assert "asks for" in capfd.readouterr().err
    assert not (tmp_path / "trap").exists()


def test_a_file_that_is_not_there_or_a_threshold_out_of_range_is_wrong_usage(
    dataset: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = ("--encoder", "bank:planted", "--dataset", dataset, "--name", "mine")
    assert run(monkeypatch, "import-salient", "none.csv", *wanted) == 2
    (tmp_path / "mine.csv").touch()
    assert run(monkeypatch, "import-salient", "mine.csv", *wanted, "--threshold", "6") == 2
