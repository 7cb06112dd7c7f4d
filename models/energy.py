"""Noise of a given strength: controls matched in energy, and further draws without drawing anew.

A control of the same area under the same draws realises nearly the energy ||x' - x||_2 of what it controls, but not
quite: clipping to [0, 1] takes more from noise on pure colours than from noise on grey. A control matched in energy has
its amplitude scaled until it realises the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.corruptions import add_gaussian_noise, energies

TOLERANCE = 0.02
"""Largest relative difference between the energy of a tested picture and that of its energy-matched control."""

ROUNDS = 12
LARGEST_SCALE = 8.0
"""Most by which amplitudes are scaled: noise that strong turns pixels black or white, and more changes little."""


def further_draws(draws: Tensor, index: int, count: int) -> Tensor:
    """The `index`-th of `count` draws of each picture, from its first.

    Every pixel and channel takes what the first draw has at another one (rolled by `index / count` of the picture and
    by a channel), so it is white noise again, uncorrelated with the first at every pixel, and costs no drawing.

    Args:
        draws: float [N, 3, H, W], standard normal.
        index: 0 for the first.
        count: >= 1, larger than `index`.
    """
    height, width = draws.shape[-2:]
    return draws.roll((index, index * height // count, index * width // count), dims=(1, 2, 3))


def matched(pictures: Tensor, masks: Tensor, draws: Tensor, wanted: Tensor) -> Tensor:
    """Noise on masks, scaled per picture so that it realises an energy: clip(x + a m z, 0, 1) with ||x' - x||_2 given.

    The realised energy grows with the amplitude a, and less than in proportion because of clipping; so a <- a * wanted
    / realised climbs to the solution. Each picture stops by itself within half of `TOLERANCE`, whatever the batch.

    Args:
        pictures: float [N, 3, H, W] in [0, 1].
        masks: float [N, H, W] in [0, 1] times the amplitude to begin with.
        draws: float [N, 3, H, W].
        wanted: float [N], >= 0.

    Returns:
        float [N, 3, H, W] in [0, 1]. Where `LARGEST_SCALE` does not reach the energy, or nothing lies in the mask, it
        stays below: compare with `energies`.
    """
    scale = torch.ones_like(wanted)
    made = add_gaussian_noise(pictures, masks, draws, 1.0)
    for _ in range(ROUNDS):
        factor = wanted / energies(pictures, made).clamp(min=1e-12)
        off = (factor - 1).abs() > TOLERANCE / 2
        following = torch.where(off, (scale * factor).clamp(max=LARGEST_SCALE), scale)
        if torch.equal(following, scale):
            break
        scale = following
        made = add_gaussian_noise(pictures, masks * scale[:, None, None], draws, 1.0)
    return made
