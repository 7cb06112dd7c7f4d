"""The pictures that people label by: sprites of square tiles, one file per candidate."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from models.masks import nams

QUALITY = 90
HEAT_SHARE = 0.5
"""Of the colours in a heat map; the rest is the picture."""

BLANK = 255


def tiles(pictures: Tensor, side: int) -> Tensor:
    """Pictures float [N, 3, s, s] in [0, 1] as uint8 [N, 3, side, side]."""
    resized = functional.interpolate(pictures.cpu(), size=(side, side), mode="bilinear", antialias=True)
    return (resized.clamp(0, 1) * 255).round().to(torch.uint8)


def heat_tiles(pictures: Tensor, maps: Tensor, side: int) -> Tensor:
    """Pictures with their maps laid over them, red where the feature is strongest.

    Args:
        pictures: float [N, 3, s, s] in [0, 1].
        maps: float [N, h, w], of one feature.
        side: of the tiles, pixels.

    Returns:
        uint8 [N, 3, side, side].
    """
    masks = functional.interpolate(nams(maps)[:, None].cpu(), size=(side, side), mode="bilinear")[:, 0]
    colours = torch.from_numpy(colormaps["jet"](masks.numpy())[..., :3]).permute(0, 3, 1, 2)
    shown = tiles(pictures, side).float() / 255
    return (((1 - HEAT_SHARE) * shown + HEAT_SHARE * colours) * 255).round().to(torch.uint8)


def sprite(rows: Sequence[Tensor], columns: int) -> bytes:
    """A JPEG of tiles, white where a row is shorter.

    Args:
        rows: uint8 [n, 3, side, side] each, n <= columns, from top to bottom.
        columns: width of the whole, in tiles.
    """
    side = rows[0].shape[-1]
    canvas: NDArray[np.uint8] = np.full((len(rows) * side, columns * side, 3), BLANK, dtype=np.uint8)
    for line, row in enumerate(rows):
        for place, tile in enumerate(row):
            top, left = line * side, place * side
            canvas[top : top + side, left : left + side] = tile.permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(canvas).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
