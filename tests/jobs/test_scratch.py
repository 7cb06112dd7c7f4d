"""A full disk is told from all else, whether Python or the safetensors library writes."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jobs.errors import StoreFull
from jobs.scratch import room_for, save_weights


@contextmanager
def most_bytes(count: int) -> Iterator[None]:
    """No file can grow larger, for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_weights_are_written_or_there_is_no_room(tmp_path: Path) -> None:
    state = {"turned": torch.arange(6000.0).view(2, 3000).T, "count": torch.tensor(3)}
    with most_bytes(4096), pytest.raises(StoreFull, match="No room on the scratch disk for the weights") as raised:
        save_weights(state, tmp_path / "w")
    assert raised.value.remedy
    save_weights(state, tmp_path / "w")
    found = load_file(tmp_path / "w")
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_no_room_for_what_python_writes(tmp_path: Path) -> None:
    with (
        most_bytes(4096),
        pytest.raises(StoreFull, match="for the labels"),
        room_for("the labels"),
        (tmp_path / "l").open("wb") as file,
    ):
        file.write(bytes(5000))


def test_other_errors_are_what_they_were(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), room_for("the labels"):
        (tmp_path / "none" / "l").open("wb")
