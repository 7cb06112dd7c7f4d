"""Prototypes (NPFV, neural PCA feature visualisation): the picture near grey on which a component is strongest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.ascent import SIDE, Activation, Ascent, Best, climb, gradients, unit

STEPS = 200
GREY = 0.5
RADIUS = 30.0
"""Of the L2 ball around grey, at `SIDE` pixels; it grows with the side."""

MOMENTUM = 0.75
RHO = 0.75
"""Share of the steps since the last checkpoint that must have risen; with fewer, the step is halved."""

FIRST_CHECK, CHECKS_CLOSE_BY, SHORTEST = 0.22, 0.03, 0.06
"""Checkpoints, as shares of the steps: the first, by how much each interval is shorter than the last, the shortest."""


def prototypes(
    activation: Activation,
    keys: Sequence[tuple[int, int]],
    side: int,
    *,
    steps: int = STEPS,
    radius: float | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Ascent:
    """One prototype per key, all climbed together.

    Source: Neuhaus et al., Spurious Features Everywhere (ICCV 2023), whose objective is <1, v> <v, psi(x)>; by APGD of
    Croce & Hein (ICML 2020): the step starts at twice the radius and is halved, going back to the best picture, where
    the climb oscillates. A prototype depends on its key and the seed, not on what it is climbed together with.

    Args:
        activation: what is raised, see `Activation`; row n is that of `keys[n]`.
        keys: (class, component) of each.
        side: s, of the pictures.
        steps: at least 1.
        radius: of the ball; `RADIUS * s / SIDE` where left out.
        seed: of the random starts, one direction per key.
        device: of the activation.

    Raises:
        FeaturesError: an activation is not a finite number at the start.
    """
    radius = RADIUS * side / SIDE if radius is None else radius
    with gradients():
        grey = torch.full((len(keys), 3, side, side), GREY, device=device)
        start = torch.stack([_start(key, side, seed) for key in keys]).to(device)
        here = _within(grey + radius * unit(start), radius)
        before = here
        values, direction = climb(activation, here)
        best = Best(here, values)
        best_direction = direction
        pace = _Pace(values, 2 * radius, steps)
        for step in range(steps):
            towards = _within(here + pace.length.view(-1, 1, 1, 1) * direction, radius)
            share = MOMENTUM if step else 1.0
            moved = _within(here + share * (towards - here) + (1 - share) * (here - before), radius)
            before, here = here, moved
            values, direction = climb(activation, here, onwards=step < steps - 1)
            better = best.take_in(here, values).view(-1, 1, 1, 1)
            best_direction = torch.where(better, direction, best_direction)
            halved = pace.after(step, values, best.values)
            if halved is not None:
                back = halved.view(-1, 1, 1, 1)
                here = torch.where(back, best.pictures, here)
                direction = torch.where(back, best_direction, direction)
        return best.ascent()


class _Pace:
    """Step lengths of N climbs, halved at checkpoints for those that oscillate or have stopped rising."""

    def __init__(self, values: Tensor, length: float, steps: int) -> None:
        self.length = torch.full_like(values, length)
        self._last = values
        self._rises = torch.zeros_like(values)
        self._best_at_check = values
        self._halved_at_check = torch.ones_like(values, dtype=torch.bool)
        self._interval = max(int(FIRST_CHECK * steps), 1)
        self._shorter, self._shortest = max(int(CHECKS_CLOSE_BY * steps), 1), max(int(SHORTEST * steps), 1)
        self._next = self._interval

    def after(self, step: int, values: Tensor, best: Tensor) -> Tensor | None:
        """Count a step. At a checkpoint: bool [N], True where the length was halved; else None."""
        self._rises += values > self._last
        self._last = values
        if step + 1 < self._next:
            return None
        oscillates = self._rises <= RHO * self._interval
        stands = ~self._halved_at_check & (best <= self._best_at_check)
        halved = oscillates | stands
        self.length = torch.where(halved, self.length / 2, self.length)
        self._halved_at_check = halved
        self._best_at_check = best
        self._rises = torch.zeros_like(values)
        self._interval = max(self._interval - self._shorter, self._shortest)
        self._next += self._interval
        return halved


def _start(key: tuple[int, int], side: int, seed: int) -> Tensor:
    """A Gaussian direction float32 [3, s, s] of this key alone."""
    generator = np.random.default_rng((seed, *key))
    return torch.from_numpy(generator.standard_normal((3, side, side), dtype=np.float32))


def _within(pictures: Tensor, radius: float) -> Tensor:
    """The nearest pictures in the ball around grey, then in [0, 1]: that only brings them nearer to grey."""
    offset = pictures - GREY
    norm = offset.flatten(1).norm(dim=1).clamp(min=radius).view(-1, 1, 1, 1)
    return (GREY + offset * (radius / norm)).clamp_(0, 1)
