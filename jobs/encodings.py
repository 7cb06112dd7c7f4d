"""Maps to compact bytes: 8-bit PNG, npz and COCO run lengths. Nothing here is ever a list of floats in JSON."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco
from torch import Tensor

ZERO = 128
"""The grey level that stands for 0 in the PNG of a signed map."""


def png(levels: NDArray[np.uint8]) -> bytes:
    """A grey picture, uint8 [H, W], as PNG; zlib's fastest level, as masks are smooth and shrink well at any."""
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def soft_levels(masks: Tensor) -> Tensor:
    """Masks in [0, 1] to grey levels: uint8, value = level / 255."""
    return (masks * 255).round_().to(torch.uint8)


def signed_levels(maps: Tensor) -> tuple[Tensor, float]:
    """Signed maps to grey levels on one common scale.

    Args:
        maps: float, any shape.

    Returns:
        uint8 levels in 1..255 and the scale, such that value = (level - 128) * scale, to half a scale.
    """
    scale = float(maps.abs().max()) / (255 - ZERO)
    if scale == 0:
        return torch.full_like(maps, ZERO, dtype=torch.uint8), 0.0
    return (maps / scale + ZERO).round_().to(torch.uint8), scale


def npz(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Arrays by name as an uncompressed npz file (mantissas of soft masks hardly compress)."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def run_lengths(mask: NDArray[np.bool_]) -> str:
    """COCO's compressed run lengths of a mask [H, W], the `counts` that pycocotools decodes (with `size` [H, W])."""
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts: bytes = encoded["counts"]
    return counts.decode("ascii")
