"""`epochs.json`: the figures of a training's epochs, as they are kept, served and read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.training.following import EpochRecord


class EpochAttack(BaseModel):
    """The attack that robust accuracy is measured with after each epoch."""

    model_config = ConfigDict(frozen=True)

    norm: Literal["l2", "linf"]
    epsilon: float = Field(description="Radius of the ball, pictures in [0, 1].")
    steps: int


class Epochs(BaseModel):
    """All epochs that have ended so far, the first one first."""

    model_config = ConfigDict(frozen=True)

    attack: EpochAttack
    epochs: tuple[EpochRecord, ...]
