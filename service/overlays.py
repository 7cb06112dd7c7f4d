"""A picture beside itself with its core and its spurious masks in colour, for people to look at."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from jobs.pictures import decode
from service.schemas import ClassAnswer, Map, Masks

CORE = (38, 138, 255)
SPURIOUS = (255, 106, 0)
STRENGTH = 0.72
"""Opacity of the colour where a mask is 1. Colours and strength are those of the pages."""
SHORTEST = 256
"""Small pictures are enlarged to this side, so that captions fit below."""
CAPTION = 18


def upright(data: bytes) -> Image.Image:
    """A picture file as the service sees it: RGB, turned as its EXIF orientation says."""
    return Image.fromarray(decode(data))


def overlay(picture: Image.Image, answer: ClassAnswer) -> Image.Image:
    """Three panels with captions: the picture, its core mask, its spurious mask.

    Args:
        picture: upright, RGB.
        answer: one class of the service's answer, its masks sent as PNG in the size of the picture.
    """
    scale = max(1, -(-SHORTEST // min(picture.size)))
    enlarged = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    parts, masks = answer.contributions, answer.masks or Masks()
    panels = [
        (enlarged, f"{answer.name}  {answer.probability:.0%}"),
        (_tinted(enlarged, masks.core, CORE), _caption("core", masks.core, parts.core)),
        (_tinted(enlarged, masks.spurious, SPURIOUS), _caption("spurious", masks.spurious, parts.spurious)),
    ]
    gap = 4
    sheet = Image.new("RGB", (3 * enlarged.width + 2 * gap, enlarged.height + CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (panel, caption) in enumerate(panels):
        left = number * (enlarged.width + gap)
        sheet.paste(panel, (left, 0))
        draw.text((left + 4, enlarged.height + 3), caption, fill="black")
    return sheet


def _caption(label: str, mask: Map | None, share: float) -> str:
    return f"{label} {share:+.2f}" if mask is not None else f"no {label} features labelled"


def _tinted(picture: Image.Image, mask: Map | None, colour: tuple[int, int, int]) -> Image.Image:
    """The picture in grey with the mask's colour over it."""
    grey = np.asarray(picture.convert("L").convert("RGB"), dtype=np.float32)
    if mask is None:
        return Image.fromarray(grey.astype(np.uint8))
    opacity = _values(mask, picture.size)[..., None] * STRENGTH
    blended = grey * (1 - opacity) + np.array(colour, dtype=np.float32) * opacity
    return Image.fromarray(blended.round().astype(np.uint8))


def _values(mask: Map, size: tuple[int, int]) -> NDArray[np.float32]:
    """A mask sent as PNG, float32 [H, W] in [0, 1] at `size` (width, height)."""
    levels = Image.open(io.BytesIO(base64.b64decode(mask.data or "")))
    return np.asarray(levels.resize(size, Image.Resampling.BILINEAR), dtype=np.float32) / np.float32(255)
