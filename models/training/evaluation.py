"""Accuracies of a trained network on held-out pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch

from models.training.attack import Attack, Norm
from models.training.pictures import LabelledPictures

ROBUST_STEPS = 20
"""Steps of the attack that measures robustness; its step size is 2.5 epsilon / steps, as in Madry's library."""

EPOCH_STEPS = 10
"""Steps of the attack that follows robustness from epoch to epoch, which is done often and need not be exact."""


@torch.no_grad()
def predict(
    forward: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    device: torch.device,
    batch_size: int = 250,
) -> torch.Tensor:
    """Predicted classes int64 [N] of pictures uint8 [N, 3, S, S]; forward: pictures in [0, 1] -> logits [N, C]."""
    batches = images.split(batch_size)
    return torch.cat([forward(batch.to(device).float() / 255).argmax(1).cpu() for batch in batches])


def accuracy(
    forward: Callable[[torch.Tensor], torch.Tensor],
    pictures: LabelledPictures,
    device: torch.device,
    batch_size: int = 250,
) -> float:
    """Share in [0, 1] of pictures whose class is predicted."""
    return float((predict(forward, pictures.images, device, batch_size) == pictures.labels).float().mean())


def robust_accuracy(
    forward: Callable[[torch.Tensor], torch.Tensor],
    pictures: LabelledPictures,
    epsilon: float,
    device: torch.device,
    seed: int = 0,
    batch_size: int = 250,
    norm: Norm = "l2",
    steps: int = ROBUST_STEPS,
) -> float:
    """Share in [0, 1] of pictures still predicted right after an attack of radius ``epsilon``."""
    attack = Attack(epsilon, steps, 2.5 * epsilon / steps, norm)
    generator = torch.Generator().manual_seed(seed)
    right = 0
    for images, labels in zip(pictures.images.split(batch_size), pictures.labels.split(batch_size), strict=True):
        moved = attack.perturb(forward, images.to(device).float() / 255, labels.to(device), generator)
        with torch.no_grad():
            right += int((forward(moved).argmax(1).cpu() == labels).sum())
    return right / len(pictures)
