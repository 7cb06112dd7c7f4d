"""The feature attack: a picture changed until a feature reads as much as it can, which shows what it looks for."""

from __future__ import annotations

from torch import Tensor

from models.ascent import SIDE, Activation, Ascent, Best, climb, gradients

STEPS = 100
STEP = 10.0
"""Length of a step (L2, pictures in [0, 1]) at `SIDE` pixels; like the norm of a picture it grows with the side."""


def feature_attack(
    activation: Activation, pictures: Tensor, *, steps: int = STEPS, step: float | None = None
) -> Ascent:
    """Gradient ascent from the pictures themselves, with steps of one length, kept within [0, 1].

    Source: Singla & Feizi, Salient ImageNet (ICLR 2022). Their code keeps the last picture; here the best is kept, so
    that the attacked picture never reads less than the given one. All climbs share one forward and backward per step.

    Args:
        activation: what is raised, see `Activation`.
        pictures: float [N, 3, s, s] in [0, 1], on the device of the activation.
        steps: at least 0.
        step: length of each; `STEP * s / SIDE` where left out.

    Raises:
        FeaturesError: an activation is not a finite number on the given picture.
    """
    length = STEP * pictures.shape[-1] / SIDE if step is None else step
    with gradients():
        moved = pictures.detach().float().clone()
        values, direction = climb(activation, moved)
        best = Best(moved, values)
        for left in reversed(range(steps)):
            moved = (moved + length * direction).clamp_(0, 1)
            values, direction = climb(activation, moved, onwards=left > 0)
            best.take_in(moved, values)
        return best.ascent()
