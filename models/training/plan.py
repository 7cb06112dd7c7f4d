"""What a network is trained with: everything that its weights depend on but the pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from models.training.attack import Attack
from models.training.augmentation import Augmentation


@dataclass(frozen=True)
class Plan:
    """Architecture, schedule, attack and seed of one training run.

    mean, std: of the pictures in [0, 1], per channel; applied inside the training forward and stored with the
    preprocessing, never in the weights.
    learning_rate: the peak, reached after ``warm_up`` (a share of all steps) and brought to zero along a cosine.
    averaging: decay per step of the running average of the weights, which is what is shipped.
    attack: None trains on clean pictures.
    """

    architecture: str
    arguments: Mapping[str, Any]
    epochs: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    attack: Attack | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch_size: int = 128
    learning_rate: float = 0.2
    warm_up: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    averaging: float = 0.998
    precision: Literal["bf16", "fp32"] = "bf16"
    seed: int = 0

    def learning_rate_at(self, progress: float) -> float:
        """Learning rate when ``progress`` in [0, 1] of all steps are done."""
        if progress < self.warm_up:
            return self.learning_rate * progress / self.warm_up
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warm_up) / (1 - self.warm_up)))
