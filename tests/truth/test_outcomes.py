"""Outcomes are kept under all that they depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.truth.outcomes import Outcomes


class Work:
    """Counts how often it is done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, Any]:
        self.times += 1
        return {"figure": 0.1 + 0.2, "withheld": None, "times": self.times}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "classifier.onnx"
    path.write_bytes(b"weights")
    return path


def test_what_is_kept_is_not_made_again_and_says_the_same(tmp_path: Path, file: Path) -> None:
    work = Work()
    first = Outcomes(tmp_path / "kept").once("one", {"pictures": 20}, {"classifier": file}, work)
    again = Outcomes(tmp_path / "kept").once("one", {"pictures": 20}, {"classifier": file}, work)
    assert first == again == {"figure": 0.1 + 0.2, "withheld": None, "times": 1}


def test_another_parameter_or_another_file_is_another_outcome(tmp_path: Path, file: Path) -> None:
    work, outcomes = Work(), Outcomes(tmp_path / "kept")
    outcomes.once("one", {"pictures": 20}, {"classifier": file}, work)
    outcomes.once("one", {"pictures": 21}, {"classifier": file}, work)
    file.write_bytes(b"other weights")
    outcomes.once("one", {"pictures": 20}, {"classifier": file}, work)
    assert work.times == 3


def test_where_a_file_lies_does_not_matter(tmp_path: Path, file: Path) -> None:
    work, outcomes = Work(), Outcomes(tmp_path / "kept")
    outcomes.once("one", {}, {"classifier": file}, work)
    outcomes.once("one", {}, {"classifier": file.rename(tmp_path / "moved.onnx")}, work)
    assert work.times == 1


def test_what_fails_leaves_nothing_behind(tmp_path: Path, file: Path) -> None:
    outcomes, work = Outcomes(tmp_path / "kept"), Work()

    def fail() -> dict[str, Any]:
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        outcomes.once("one", {}, {"classifier": file}, fail)
    outcomes.once("one", {}, {"classifier": file}, work)
    assert work.times == 1
