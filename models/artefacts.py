"""Artefacts that may be planted into pictures, and the control of each. A new one registers itself in `ARTEFACTS`.

Source: Adebayo, Muelly, Abelson & Kim, Post hoc Explanations may be Ineffective for Detecting Unknown Spurious
Correlation (ICLR 2022): a tag, a stripe and a blurred background. Exact sizes were not published; those here are
shares of the picture's side and part of each docstring.

A control has the artefact's place, its transparency and (before clipping) its contrast, but not what makes it: a patch
has its complementary colours with the pixels shuffled (shuffled alone, a patch of one colour would be itself), a
blurred background is sharpened by what the blur takes away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from models.blur import gaussian_blur

Place = Literal["top-left", "top-right", "bottom-left", "bottom-right", "centre"]
Plant = Callable[[Tensor, Tensor, bool], Tensor]

TAG_WIDTH, STRIPE_WIDTH, BACKGROUND_BLUR = 0.3, 0.1, 1 / 24
"""Width of the tag and of the stripe, and standard deviation of the blur, as shares of the picture's side."""

_LETTERS = (
    "1...1..111..1...1",
    "11.11.1.....1...1",
    "1.1.1.1.....1...1",
    "1...1.1..11.11111",
    "1...1.1...1.1...1",
    "1...1.1...1.1...1",
    "1...1..111..1...1",
)
"""The mark of a hospital that the paper's tag shows, on a plate with a margin of one."""


@dataclass(frozen=True)
class Artefact:
    """Something to plant into a picture.

    Attributes:
        name: as requests and reports call it.
        summary: one sentence for people.
        plant: (pictures [N, 3, H, W] in [0, 1], core masks [N, H, W] in [0, 1], whether the control is wanted) ->
            [N, 3, H, W] in [0, 1].
    """

    name: str
    summary: str
    plant: Plant


ARTEFACTS: dict[str, Artefact] = {}


def register(artefact: Artefact) -> Artefact:
    """Add an artefact to the table."""
    if artefact.name in ARTEFACTS:
        raise ValueError(f"an artefact named {artefact.name!r} is registered already")
    ARTEFACTS[artefact.name] = artefact
    return artefact


def blurred_background(pictures: Tensor, core: Tensor, control: bool) -> Tensor:
    """x +- (1 - m_core) (blur(x) - x), clipped: the background blurred and the core features sharp, or the opposite."""
    change = (gaussian_blur(pictures, BACKGROUND_BLUR * pictures.shape[-1]) - pictures) * (1 - core)[:, None]
    return (pictures - change if control else pictures + change).clamp(0, 1)


def patch(pixels: Tensor, share: float, place: Place) -> Plant:
    """What pastes a patch.

    Args:
        pixels: uint8 [4, h, w], RGBA.
        share: of the picture's side that the longer side of the patch takes, in (0, 1].
        place: where on the picture.
    """

    @lru_cache(maxsize=4)
    def layers(height: int, width: int) -> tuple[Tensor, Tensor]:
        scale = share * min(height, width) / max(pixels.shape[1:])
        size = [max(1, round(side * scale)) for side in pixels.shape[1:]]
        small = functional.interpolate(
            pixels[None].float() / 255, size=size, mode="bilinear", antialias=True, align_corners=False
        )[0].clamp(0, 1)
        return _laid_out(small, height, width, place), _laid_out(_complement(small), height, width, place)

    return _pasting(layers)


def _pasting(layers: Callable[[int, int], tuple[Tensor, Tensor]]) -> Plant:
    """What pastes a layer or its control, each float [4, H, W] for pictures of H x W pixels."""

    def plant(pictures: Tensor, core: Tensor, control: bool) -> Tensor:
        layer = layers(*pictures.shape[-2:])[control].to(pictures.device)
        return torch.lerp(pictures, layer[:3].expand(pictures.shape), layer[3:].expand(pictures.shape))

    return plant


def _complement(small: Tensor) -> Tensor:
    """Complementary colours at shuffled pixels, always in the same order: [4, h, w] -> [4, h, w]."""
    count = small[0].numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    shuffled = small.flatten(1)[:, order].view(small.shape)
    return torch.cat([1 - shuffled[:3], shuffled[3:]])


def _laid_out(small: Tensor, height: int, width: int, place: Place) -> Tensor:
    """A layer of the size of a picture with a patch in one of its places, transparent elsewhere."""
    free = height - small.shape[1], width - small.shape[2]
    if place == "centre":
        top, left = free[0] // 2, free[1] // 2
    else:
        top = free[0] if place.startswith("bottom") else 0
        left = free[1] if place.endswith("right") else 0
    return functional.pad(small, (left, free[1] - left, top, free[0] - top))


def _tag() -> Tensor:
    """uint8 [4, 9, 19]: white letters on a black plate."""
    ink = torch.tensor([[255 * (cell == "1") for cell in row] for row in _LETTERS], dtype=torch.uint8)
    plate = functional.pad(ink, (1, 1, 1, 1)).expand(3, -1, -1)
    return torch.cat([plate, torch.full_like(plate[:1], 255)])


@lru_cache(maxsize=4)
def _stripes(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Diagonal bands of black and yellow along the left edge, and their control; float [4, H, W] each."""
    across = max(2, round(STRIPE_WIDTH * width))
    band = max(1, across // 2)
    rows, columns = torch.arange(height)[:, None], torch.arange(across)
    lit = ((rows + columns) // band % 2).float()
    bands = torch.stack([lit, lit, torch.zeros_like(lit), torch.ones_like(lit)])
    return _laid_out(bands, height, width, "top-left"), _laid_out(_complement(bands), height, width, "top-left")


register(
    Artefact(
        "tag", "White letters on a black plate in a corner, as on radiographs.", patch(_tag(), TAG_WIDTH, "top-left")
    )
)
register(Artefact("stripe", "Diagonal bands of black and yellow along the left edge.", _pasting(_stripes)))
register(Artefact("blur", "The background blurred, the core features sharp.", blurred_background))
