"""Paint parts of one thing in its own coordinates, onto the picture's finer grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.planted.randomness import Colour, Floats, turn
from models.planted.shapes import Region

SIZE = 96
"""Side of a picture in pixels."""

FINENESS = 3
"""Each pixel is drawn as FINENESS x FINENESS points, whose mean gives smooth edges."""


@dataclass(frozen=True)
class Pose:
    """Where a thing stands: centre and half extent in pixels, rotation in degrees (clockwise), mirrored or not."""

    x: float
    y: float
    extent: float
    degrees: float = 0.0
    mirrored: bool = False


def grid() -> tuple[Floats, Floats]:
    """Coordinates x, y in pixels of all fine points, float32 [SIZE * FINENESS] * 2."""
    steps = (np.arange(SIZE * FINENESS, dtype=np.float32) + np.float32(0.5)) / np.float32(FINENESS)
    return np.broadcast_to(steps, (len(steps), len(steps))), np.broadcast_to(steps[:, None], (len(steps), len(steps)))


class Painter:
    """The fine points around one thing.

    u, v: float32 [h, w], the thing's own coordinates: its extent spans about [-1, 1], v points down.
    colour: float32 [h, w, 3] in [0, 1]; cover: bool [h, w], where anything has been painted.
    """

    REACH = 1.5
    """Parts may reach this far from the centre, in extents."""

    def __init__(self, pose: Pose) -> None:
        reach = pose.extent * self.REACH
        self.rows = _span(pose.y, reach)
        self.columns = _span(pose.x, reach)
        x, y = (axis[self.rows, self.columns] for axis in grid())
        cosine, sine = (np.float32(value) for value in turn(pose.degrees))
        right, down = x - np.float32(pose.x), y - np.float32(pose.y)
        across = (cosine * right + sine * down) / np.float32(pose.extent)
        self.u: Floats = -across if pose.mirrored else across
        self.v: Floats = (cosine * down - sine * right) / np.float32(pose.extent)
        self.colour: Floats = np.zeros((*self.u.shape, 3), dtype=np.float32)
        self.cover: Region = np.zeros(self.u.shape, dtype=bool)

    def fill(self, region: Region, colour: Colour) -> None:
        """Paint a region, over whatever is there, and count it as part of the thing."""
        self.colour[region] = np.asarray(colour, dtype=np.float32)
        self.cover |= region

    def light(self, strength: float, towards: tuple[float, float]) -> None:
        """Brighten the thing on the side ``towards`` (a direction in u, v) and darken the other side."""
        shade = 1 + np.float32(strength) * (self.u * np.float32(towards[0]) + self.v * np.float32(towards[1]))
        self.colour *= np.clip(shade, 0, 2)[..., None]


def _span(centre: float, reach: float) -> slice:
    first, last = int((centre - reach) * FINENESS), int((centre + reach) * FINENESS) + 1
    return slice(min(max(first, 0), SIZE * FINENESS), min(max(last, 0), SIZE * FINENESS))
