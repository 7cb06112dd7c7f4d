"""What may stand in the place of a feature: fills for ablations. A new one registers itself in `FILLS`.

A soft mask blends: x' = (1 - m) x + m fill(x), in the classifier's input pixels in [0, 1] before mean and standard
deviation. Sources: grey 0.5 is the ablation of Hard ImageNet (Moayeri et al., NeurIPS 2022) and RIVAL10 (CVPR 2022);
blur removes texture and shuffled patches remove shape, as the targeted corruptions of Spuriosity Rankings (NeurIPS
2023, appendix B); in-painting is the push-pull interpolation of Gortler, Grzeszczuk, Szeliski & Cohen, The Lumigraph
(SIGGRAPH 1996, section 3.4), a smooth continuation of what surrounds the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.blur import gaussian_blur

BLUR = 1 / 16
"""Standard deviation of the blur, as a share of the picture's side: 14 pixels of 224, so that nothing can be read."""

PATCHES = 14
"""Patches along a side that are shuffled: 16 pixels of 224, half a cell of usual maps."""

HIDDEN_FROM = 0.5
"""Mask from which a pixel lies inside: its patch takes part in the shuffle, in-painting takes nothing from it."""


@dataclass(frozen=True)
class Fill:
    """One thing to put where a mask lies.

    Attributes:
        name: as requests and reports call it.
        summary: one sentence for people.
        local: whether it depends on the mask; others may be made once for all masks of a picture.
        apply: (pictures [N, 3, H, W] in [0, 1], masks [N, H, W] in [0, 1], draws [N, 3, H, W] standard normal, each
            picture's own) -> [N, 3, H, W] in [0, 1], what to see where the mask is 1.
    """

    name: str
    summary: str
    local: bool
    apply: Callable[[Tensor, Tensor, Tensor], Tensor]


FILLS: dict[str, Fill] = {}


def register(fill: Fill) -> Fill:
    """Add a fill to the table."""
    if fill.name in FILLS:
        raise ValueError(f"a fill named {fill.name!r} is registered already")
    FILLS[fill.name] = fill
    return fill


def blend(pictures: Tensor, masks: Tensor, filled: Tensor) -> Tensor:
    """(1 - m) x + m fill: [N, 3, H, W], [N, H, W] in [0, 1], [N, 3, H, W] -> [N, 3, H, W]; exactly x where m is 0."""
    return torch.lerp(pictures, filled, masks[:, None])


def grey(pictures: Tensor, masks: Tensor, draws: Tensor) -> Tensor:
    """0.5 everywhere; shapes as in `Fill.apply`."""
    return torch.full_like(pictures, 0.5)


def blurred(pictures: Tensor, masks: Tensor, draws: Tensor) -> Tensor:
    """The picture under a Gaussian of `BLUR` of its side; shapes as in `Fill.apply`."""
    return gaussian_blur(pictures, BLUR * pictures.shape[-1])


def shuffled_patches(pictures: Tensor, masks: Tensor, draws: Tensor) -> Tensor:
    """Patches that lie in the mask on average put in each other's places; shapes as in `Fill.apply`.

    The order comes from the picture's own draws, so it depends on neither batch nor shard. Where fewer than two
    patches lie in the mask the picture stays as it is.
    """
    side = max(1, pictures.shape[-1] // PATCHES)
    members = _cells(masks[:, None], side).mean(dim=-1) >= HIDDEN_FROM
    keys = _cells(draws[:, :1], side).mean(dim=-1)
    place = torch.arange(members.shape[1], device=members.device).expand(members.shape)
    # members in order of place, then the others; and members in random order, then the same others
    targets = torch.where(members, place, place + members.shape[1]).argsort(dim=1)
    sources = torch.where(members, keys.sigmoid(), place + 2.0).argsort(dim=1)
    order = torch.empty_like(place).scatter(1, targets, sources)
    cells = _cells(pictures, side)
    shuffled = cells.gather(1, order[..., None].expand(cells.shape))
    return _laid_out(shuffled, pictures, side)


def in_painted(pictures: Tensor, masks: Tensor, draws: Tensor) -> Tensor:
    """What surrounds the mask, continued smoothly into it; shapes as in `Fill.apply`.

    Pull: each level of a pyramid is the mean of known pixels below it, and known where any of them is. Push: what is
    not known at a level is taken from the coarser one, bilinearly. A pixel counts as known by 1 - m / `HIDDEN_FROM`,
    so nothing of what the mask hides leaks into its fill. Where nothing is known at all the fill is grey.
    """
    known = (1 - masks[:, None] / HIDDEN_FROM).clamp(min=0)
    levels = [(pictures, known)]
    while max(levels[-1][0].shape[-2:]) > 1:
        values, weight = levels[-1]
        total = _halved(weight)
        levels.append((_halved(values * weight) / total.clamp(min=1e-6), (4 * total).clamp(max=1)))
    filled = torch.full_like(levels[-1][0], 0.5)
    for values, weight in reversed(levels):
        coarse = functional.interpolate(filled, size=values.shape[-2:], mode="bilinear", align_corners=False)
        filled = torch.lerp(coarse, values, weight)
    return filled


def _halved(values: Tensor) -> Tensor:
    return functional.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)


def _cells(values: Tensor, side: int) -> Tensor:
    """[N, C, H, W] -> [N, P, C side side], the whole patches in reading order; what is left at the edges is left."""
    count, channels, height, width = values.shape
    rows, columns = height // side, width // side
    whole = values[:, :, : rows * side, : columns * side]
    grid = whole.reshape(count, channels, rows, side, columns, side)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(count, rows * columns, -1)


def _laid_out(cells: Tensor, pictures: Tensor, side: int) -> Tensor:
    """The inverse of `_cells`, on copies of the pictures."""
    count, channels, height, width = pictures.shape
    rows, columns = height // side, width // side
    grid = cells.reshape(count, rows, columns, channels, side, side).permute(0, 3, 1, 4, 2, 5)
    result = pictures.clone()
    result[:, :, : rows * side, : columns * side] = grid.reshape(count, channels, rows * side, columns * side)
    return result


register(Fill("grey", "Mid-grey, 0.5 in every channel.", False, grey))
register(Fill("blur", f"The picture under a Gaussian blur of {BLUR:g} of its side.", False, blurred))
register(Fill("patch-shuffle", "Patches that lie in the mask, in each other's places.", True, shuffled_patches))
register(Fill("in-painting", "What surrounds the mask, continued into it (push-pull interpolation).", True, in_painted))
