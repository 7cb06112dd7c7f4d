"""What a training run is resumed from: kept whole or not at all, and refused where it belongs to another network."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Protocol

import torch

from models.errors import TrainingError
from models.training.plan import Plan


class Checkpoint(Protocol):
    """Where the state of a run is kept. A write that fails leaves what was there before."""

    def read(self) -> bytes | None:
        """What was written last; None where nothing was."""

    def write(self, content: bytes) -> None:
        """Replace it."""


class CheckpointFile:
    """A checkpoint as a local file. It raises OSError where there is no room."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """The file's bytes; None where it is not there."""
        return self.path.read_bytes() if self.path.exists() else None

    def write(self, content: bytes) -> None:
        """Write beside the file, then take its place."""
        partial = self.path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)


def network_of(plan: Plan, classes: tuple[str, ...]) -> dict[str, Any]:
    """What the tensors of a checkpoint belong to."""
    return {"architecture": plan.architecture, "arguments": dict(plan.arguments), "classes": list(classes)}


def to_bytes(state: dict[str, Any]) -> bytes:
    """The state of a run as ``torch.save`` writes it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def from_bytes(content: bytes, plan: Plan, classes: tuple[str, ...], device: torch.device) -> dict[str, Any]:
    """The state of a run; nothing but tensors and plain values is read.

    Raises TrainingError where the file is damaged or says that it belongs to another network or other classes.
    """
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        written_for = state.get("of")
    except Exception as error:  # of many kinds, by where the file is damaged
        raise TrainingError(
            f"The checkpoint cannot be read: {error}", remedy="Remove it, and the training begins anew."
        ) from error
    wanted = network_of(plan, classes)
    if written_for is not None and written_for != wanted:  # files of older versions do not say
        name = next(name for name in wanted if written_for.get(name) != wanted[name])
        raise TrainingError(
            f"The checkpoint is of another plan: its {name} are {written_for.get(name)}, not {wanted[name]}.",
            remedy="Train in another folder, or remove the checkpoint.",
        )
    return state


def foreign(error: Exception) -> TrainingError:
    """For tensors of a checkpoint that do not fit the network of the plan."""
    reason = " ".join(str(error).split())[:300]
    return TrainingError(
        f"The checkpoint is of another plan, its tensors do not fit the network: {reason}",
        remedy="Train in another folder, or remove the checkpoint.",
    )
