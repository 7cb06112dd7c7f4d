"""How a training run is followed while it goes on."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from models.training.progress import Advance, progress


@dataclass(frozen=True)
class Batch:
    """A batch that has just been trained on.

    epoch, epochs, step, steps: which it was, from 1, and of how many; pictures: trained on so far, all epochs and
    earlier runs included; accuracy: on the training batches of this epoch, in [0, 1].
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    pictures: int
    accuracy: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    epoch: from 1; loss: mean over its batches, nats; training: accuracy on its (attacked) batches; clean, robust: of
    the averaged weights on ``pictures`` held-out pictures, in [0, 1], None where there are none or no attack; seconds:
    of the epoch, evaluation included.
    """

    epoch: int
    loss: float
    training: float
    clean: float | None
    robust: float | None
    pictures: int
    seconds: float


class Follower(Protocol):
    """Told of a run's progress. Whatever its methods raise ends the run; only whole epochs are kept then."""

    def batch(self, at: Batch) -> None:
        """A batch was trained on."""

    def evaluating(self) -> None:
        """Called before each forward of an evaluation."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch has ended, and its checkpoint is written."""


class Silent:
    """Follows and says nothing."""

    def batch(self, at: Batch) -> None:
        """A batch was trained on."""

    def evaluating(self) -> None:
        """An evaluation goes on."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch has ended."""


class Printed(Silent):
    """Shows a bar on a terminal, elsewhere a line now and then."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._advance: Advance | None = None

    def batch(self, at: Batch) -> None:
        """A batch was trained on."""
        if self._advance is None:
            self._advance = self._shown.enter_context(progress(f"epoch {at.epoch}/{at.epochs}", at.steps))
        self._advance(f"accuracy on the training batches {at.accuracy:.3f}")
        if at.step == at.steps:
            self._shown.close()
            self._advance = None
