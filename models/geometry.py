"""Where the pixels of a network's input lie on the picture, and how maps travel between such grids.

Every network sees a picture through *resize, then centre crop*. A `Placement` records where that crop lies on the
picture; `carry` lays maps known on one placement onto another (the picture itself, or another network's input) in
one bilinear step. Masks and pictures therefore stay aligned by construction: the released evaluation of Salient
ImageNet resized and cropped its stored masks a second time, which enlarged them by 1.143 about the centre.

Coordinates are continuous with pixel i covering [i, i + 1), so pixel centres lie at i + 0.5 (half-pixel centres).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.preprocessing import Preprocessing


@dataclass(frozen=True)
class Axis:
    """One axis of a placement: `original` pixels resized to `resized`, of which `length` from `offset` are kept."""

    original: int
    resized: int
    offset: int
    length: int


@dataclass(frozen=True)
class Placement:
    """Where a grid of pixels lies on a picture, rows and columns apart."""

    rows: Axis
    columns: Axis

    @classmethod
    def whole(cls, height: int, width: int) -> Placement:
        """The picture's own pixels."""
        return cls(Axis(height, height, 0, height), Axis(width, width, 0, width))


def place(preprocessing: Preprocessing, height: int, width: int) -> Placement:
    """Where the network's input lies on a picture of `height` x `width` pixels (torchvision's Resize + CenterCrop)."""
    side = preprocessing.resize or preprocessing.size
    if preprocessing.resize_rule == "stretch":
        resized = (side, side)
    elif height <= width:
        resized = (side, max(side, int(side * width / height)))
    else:
        resized = (max(side, int(side * height / width)), side)

    def crop(original: int, resized_to: int) -> Axis:
        return Axis(original, resized_to, round((resized_to - preprocessing.size) / 2), preprocessing.size)

    return Placement(crop(height, resized[0]), crop(width, resized[1]))


def prepare(picture: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """Resize and crop a picture; its values stay raw pixels.

    Args:
        picture: uint8 [H, W, 3], RGB.
        preprocessing: of the network that will see it.

    Returns:
        uint8 [3, size, size], RGB in the range 0..255.
    """
    placement = place(preprocessing, picture.shape[0], picture.shape[1])
    rows, columns = placement.rows, placement.columns
    pixels = torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)
    if (rows.resized, columns.resized) != (rows.original, columns.original):
        pixels = functional.interpolate(
            pixels[None],
            size=(rows.resized, columns.resized),
            mode=preprocessing.interpolation,
            antialias=preprocessing.antialias,
        )[0]
    return pixels[
        :, rows.offset : rows.offset + rows.length, columns.offset : columns.offset + columns.length
    ].contiguous()


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Raw pixels to network input.

    Args:
        pixels: [N, 3, s, s], RGB; uint8 in 0..255, or floating in [0, 1].
        preprocessing: of the network.

    Returns:
        float [N, 3, s, s] (or [N, s, s, 3] for layout NHWC), of the input's floating dtype, float32 for uint8.
    """
    bytes_in = not pixels.is_floating_point()
    values = pixels.float() if bytes_in else pixels
    factor = {(True, "unit"): 1 / 255, (False, "byte"): 255.0}.get((bytes_in, preprocessing.scale), 1.0)
    if preprocessing.colour == "BGR":
        values = values.flip(1)
    mean = values.new_tensor(preprocessing.mean).view(3, 1, 1)
    std = values.new_tensor(preprocessing.std).view(3, 1, 1)
    values = values * (factor / std) - mean / std
    return values.permute(0, 2, 3, 1).contiguous() if preprocessing.layout == "NHWC" else values


def carry(maps: Tensor, sources: Sequence[Placement], targets: Sequence[Placement]) -> Tensor:
    """Lay maps known on the source grids onto the target grids, bilinearly; zero where the source saw nothing.

    Args:
        maps: float [N, K, h, w], each covering the whole of its source placement.
        sources: N placements, the input of the network that made the maps.
        targets: N placements of equal length per axis, e.g. another network's input or `Placement.whole`.

    Returns:
        float [N, K, H, W] with H, W the targets' lengths; values within the range of the maps (and 0).
    """
    return _resample(maps, sources, targets, conserve=False)


def spread(maps: Tensor, sources: Sequence[Placement], targets: Sequence[Placement]) -> Tensor:
    """Like `carry`, but amounts instead of levels: each cell's amount is shared out over the pixels it reaches, so
    that the total of every map is kept (contribution maps must go on summing to the logit).

    Args and returns: as `carry`; every source must lie within its target.
    """
    return _resample(maps, sources, targets, conserve=True)


def _resample(maps: Tensor, sources: Sequence[Placement], targets: Sequence[Placement], conserve: bool) -> Tensor:
    height, width = maps.shape[-2:]
    rows = _matrices([(s.rows, t.rows) for s, t in zip(sources, targets, strict=True)], height, conserve, maps)
    columns = _matrices([(s.columns, t.columns) for s, t in zip(sources, targets, strict=True)], width, conserve, maps)
    return rows @ maps @ columns.transpose(-1, -2)


def _matrices(axes: list[tuple[Axis, Axis]], cells: int, conserve: bool, like: Tensor) -> Tensor:
    """Interpolation matrices [1 or N, 1, length, cells]; one where all pictures share it."""
    distinct = set(axes)
    if len(distinct) == 1:
        stacked = _matrix(*axes[0], cells, conserve)[None]
    else:
        stacked = torch.stack([_matrix(source, target, cells, conserve) for source, target in axes])
    return stacked[:, None].to(device=like.device, dtype=like.dtype)


@lru_cache(maxsize=4096)
def _matrix(source: Axis, target: Axis, cells: int, conserve: bool) -> Tensor:
    """float32 [target.length, cells]: how much of each map cell every target pixel takes."""
    if source == target:  # then the picture's size plays no part, and pictures of all sizes share one matrix
        seen = np.arange(source.length) + 0.5
    else:
        on_picture = (np.arange(target.length) + 0.5 + target.offset) * (target.original / target.resized)
        seen = on_picture * (source.resized / source.original) - source.offset
    inside = (seen > 0) & (seen < source.length)
    position = np.clip(seen * (cells / source.length) - 0.5, 0, cells - 1)
    lower = np.floor(position).astype(int)
    upper = np.minimum(lower + 1, cells - 1)
    weight = position - lower
    matrix = np.zeros((target.length, cells))
    pixel = np.arange(target.length)
    np.add.at(matrix, (pixel, lower), (1 - weight) * inside)
    np.add.at(matrix, (pixel, upper), weight * inside)
    if conserve:
        totals = matrix.sum(axis=0)
        matrix = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    return torch.from_numpy(matrix.astype(np.float32))
