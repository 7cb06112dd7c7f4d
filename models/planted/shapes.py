"""Regions and textures as pure functions of coordinates.

``u`` and ``v`` are float32 [h, w], right and down, in the units of whoever draws. Regions are bool [h, w]. Only
operations that IEEE 754 rounds exactly are used (no sine, exponential or power), so every machine draws the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.planted.randomness import Colour, Floats, Randomness

Region = NDArray[np.bool_]
Point = tuple[float, float]


def ellipse(u: Floats, v: Floats, centre: Point, radii: Point) -> Region:
    """Inside of an ellipse with axes along u and v."""
    across, down = (
        (u - np.float32(centre[0])) / np.float32(radii[0]),
        (v - np.float32(centre[1])) / np.float32(radii[1]),
    )
    return across * across + down * down <= 1


def box(u: Floats, v: Floats, left: float, top: float, right: float, bottom: float) -> Region:
    """Inside of a rectangle."""
    return (u >= left) & (u <= right) & (v >= top) & (v <= bottom)


def polygon(u: Floats, v: Floats, corners: Sequence[Point]) -> Region:
    """Inside of a convex polygon whose corners go round clockwise as seen on the screen."""
    inside = np.ones(u.shape, dtype=bool)
    for (u0, v0), (u1, v1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        inside &= np.float32(u1 - u0) * (v - np.float32(v0)) - np.float32(v1 - v0) * (u - np.float32(u0)) >= 0
    return inside


def stroke(u: Floats, v: Floats, start: Point, end: Point, width: float) -> Region:
    """A straight line with round ends, ``width`` across."""
    du, dv = end[0] - start[0], end[1] - start[1]
    along = ((u - np.float32(start[0])) * np.float32(du) + (v - np.float32(start[1])) * np.float32(dv)) / np.float32(
        du * du + dv * dv
    )
    along = np.clip(along, 0, 1)
    off_u = u - np.float32(start[0]) - along * np.float32(du)
    off_v = v - np.float32(start[1]) - along * np.float32(dv)
    return off_u * off_u + off_v * off_v <= np.float32(width * width / 4)


def fraction(values: Floats) -> Floats:
    """The part after the decimal point, in [0, 1)."""
    return values - np.floor(values)


def stripes(values: Floats, period: float, share: float = 0.5, shift: float = 0.0) -> Region:
    """Stripes where ``values`` is constant along a stripe; ``share`` of each period is inside."""
    return fraction(values / np.float32(period) + np.float32(shift)) < share


def triangle(values: Floats) -> Floats:
    """A wave of period 1 between 0 and 1, made of straight lines."""
    return np.abs(2 * fraction(values) - 1)


def value_noise(u: Floats, v: Floats, randomness: Randomness, cells: int = 32) -> Floats:
    """Smooth noise in [0, 1] with one random value for each unit of u and v, repeated after ``cells`` units."""
    lattice = randomness.array(cells, cells)
    column, row = np.floor(u), np.floor(v)
    right, down = _ease(u - column), _ease(v - row)
    left_index, top_index = column.astype(np.int32) % cells, row.astype(np.int32) % cells
    right_index, bottom_index = (left_index + 1) % cells, (top_index + 1) % cells
    top = lattice[top_index, left_index] * (1 - right) + lattice[top_index, right_index] * right
    bottom = lattice[bottom_index, left_index] * (1 - right) + lattice[bottom_index, right_index] * right
    return top * (1 - down) + bottom * down


def cell_noise(u: Floats, v: Floats, randomness: Randomness, cells: int = 32) -> Floats:
    """One random value in [0, 1) for each unit cell of u and v."""
    lattice = randomness.array(cells, cells)
    return lattice[np.floor(v).astype(np.int32) % cells, np.floor(u).astype(np.int32) % cells]


def mix(first: Colour, second: Colour, share: Floats) -> Floats:
    """Colours float32 [h, w, 3] from ``first`` (share 0) to ``second`` (share 1)."""
    share = np.clip(share, 0, 1)[..., None]
    return np.asarray(first, dtype=np.float32) * (1 - share) + np.asarray(second, dtype=np.float32) * share


def _ease(values: Floats) -> Floats:
    return values * values * (3 - 2 * values)
