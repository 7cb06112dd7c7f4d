"""Area-matched controls: the same mask at another place.

The drop under noise grows with the energy put in, sum(m^2), so the drop of a large mask and that of a small one cannot
be compared (flaw 2 of the released Salient ImageNet evaluation). A control has exactly the same values as the tested
mask, rolled circularly to where it overlaps least with the tested and core regions, under the same draws: what the
tested mask costs beyond its control is due to *where* it lies.

A mask that covers most of the picture has no place to go. How much of it the control shares is therefore measured
(`shared_fraction`) and reported beside every figure that rests on a control.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CELLS = 16
"""Offsets are searched on a grid of CELLS x CELLS cells, about twice the resolution of usual maps."""

STEPS = 10_000
"""Overlaps are compared in steps of 1 / STEPS of the mask, so that rounding does not choose between equal offsets."""


def control_offsets(masks: Tensor, avoid: Tensor) -> Tensor:
    """Where to roll each mask so that it overlaps least with a region.

    Args:
        masks: float [N, H, W] in [0, 1].
        avoid: float [N, H, W] in [0, 1], the tested and core regions.

    Returns:
        int64 [N, 2], rows and columns to roll by, each in [0, H) and [0, W); the first of equals in reading order.
    """
    height, width = masks.shape[-2:]
    if not len(masks):  # MKL's transforms refuse empty batches (torch 2.13)
        return torch.zeros(0, 2, dtype=torch.int64, device=masks.device)
    coarse = functional.adaptive_avg_pool2d(masks, CELLS)
    region = functional.adaptive_avg_pool2d(avoid, CELLS)
    spectrum = torch.fft.rfft2(coarse).conj() * torch.fft.rfft2(region)
    overlap = torch.fft.irfft2(spectrum, s=(CELLS, CELLS))
    total = coarse.sum(dim=(-2, -1), keepdim=True).clamp(min=1e-12)
    best = (overlap / total * STEPS).round().flatten(1).argmin(dim=1)
    rows, columns = best // CELLS, best % CELLS
    return torch.stack([rows * height // CELLS, columns * width // CELLS], dim=1)


def roll(masks: Tensor, offsets: Tensor) -> Tensor:
    """Each mask rolled by its own offset: [N, H, W], int64 [N, 2] -> [N, H, W] with the same sorted values."""
    count, height, width = masks.shape
    rows = (torch.arange(height, device=masks.device) - offsets[:, :1]) % height
    columns = (torch.arange(width, device=masks.device) - offsets[:, 1:]) % width
    flat = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    return masks.flatten(1).gather(1, flat).view(count, height, width)


def shared_fraction(masks: Tensor, controls: Tensor) -> Tensor:
    """Share of each mask that its control covers too, sum min(m, m') / sum m: [N, H, W] twice -> [N] in [0, 1].

    0 is a control that lies apart; 1 one that cannot be told from the tested mask, so that no difference can show.
    """
    total = masks.sum(dim=(-2, -1))
    common = torch.minimum(masks, controls).sum(dim=(-2, -1))
    return torch.where(total > 0, common / total.clamp(min=1e-12), torch.ones_like(total))
