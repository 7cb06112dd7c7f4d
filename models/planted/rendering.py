"""Draw a scene: the picture and its exact masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.planted.backgrounds import BACKGROUNDS
from models.planted.objects import OBJECTS
from models.planted.painter import FINENESS, SIZE, Painter, Pose, grid
from models.planted.props import PROPS
from models.planted.randomness import Floats, Randomness, turn
from models.planted.scenes import Scene
from models.planted.shapes import Region

PLACES_TRIED = 24
"""Places drawn for a prop, of which the one that keeps clear of the object best is taken."""


@dataclass(frozen=True)
class Picture:
    """A drawn scene.

    image: uint8 [96, 96, 3], RGB. The masks are bool [96, 96], true where at least half of a pixel shows the object,
    the prop or the background; no pixel is in two of them.
    """

    scene: Scene
    image: NDArray[np.uint8]
    object_mask: Region
    prop_mask: Region
    background_mask: Region

    @property
    def prop_cue_mask(self) -> Region:
        """The visible pixels of the prop where it is the label's cue, else nothing."""
        return self.prop_mask if self.scene.has_prop_cue else np.zeros_like(self.prop_mask)

    @property
    def background_cue_mask(self) -> Region:
        """The visible pixels of the background where it is the label's cue, else nothing."""
        return self.background_mask if self.scene.has_background_cue else np.zeros_like(self.background_mask)

    @property
    def cue_mask(self) -> Region:
        """The visible pixels of all of the label's cues."""
        return self.prop_cue_mask | self.background_cue_mask


def render(scene: Scene) -> Picture:
    """Draw a scene; the same bytes wherever and in whatever order.

    Background, prop and object draw from streams of their own, so scenes that differ in one of them differ only in
    the pixels that show it.
    """
    pose = object_pose(scene.seed, scene.index)
    colour = BACKGROUNDS[scene.background](*grid(), Randomness(scene.seed, scene.index, "background", scene.background))
    light = Randomness(scene.seed, scene.index, "light")
    towards, strength = turn(light.uniform(0, 360)), light.uniform(0.05, 0.2)
    tint = np.asarray([light.uniform(0.93, 1.04) for _ in range(3)], dtype=np.float32)
    owner = np.zeros(colour.shape[:2], dtype=np.uint8)
    things = [(OBJECTS[scene.shown], scene.shown, pose, 2)]
    if scene.prop is not None:
        things.insert(0, (PROPS[scene.prop], scene.prop, prop_pose(scene.seed, scene.index), 1))
    for draw, name, place, number in things:
        painter = Painter(place)
        draw(painter, Randomness(scene.seed, scene.index, "thing", name))
        painter.light(strength, towards)
        colour[painter.rows, painter.columns][painter.cover] = painter.colour[painter.cover]
        owner[painter.rows, painter.columns][painter.cover] = number
    image = _pixels(np.clip(colour * tint, 0, 1)) * np.float32(255) + np.float32(0.5)
    background_share, prop_share, object_share = (_pixels((owner == number).astype(np.float32)) for number in range(3))
    object_mask = object_share >= 0.5
    prop_mask = (prop_share >= 0.5) & ~object_mask
    return Picture(
        scene, image.astype(np.uint8), object_mask, prop_mask, (background_share >= 0.5) & ~object_mask & ~prop_mask
    )


def object_pose(seed: int, index: int) -> Pose:
    """Where the object of this seed and index stands."""
    randomness = Randomness(seed, index, "pose")
    extent = randomness.uniform(23, 32)
    reach = 48 - 0.95 * extent
    return Pose(
        x=48 + randomness.uniform(-reach, reach),
        y=48 + randomness.uniform(-reach, reach) * 0.8,
        extent=extent,
        degrees=randomness.uniform(-22, 22),
        mirrored=randomness.chance(0.5),
    )


def prop_pose(seed: int, index: int) -> Pose:
    """Where a prop of this seed and index stands: within the picture and as clear of the object as it can be."""
    thing = object_pose(seed, index)
    randomness = Randomness(seed, index, "prop pose")
    extent = randomness.uniform(11.5, 15.5)
    places = [
        (randomness.uniform(extent, SIZE - extent), randomness.uniform(extent, SIZE - extent))
        for _ in range(PLACES_TRIED)
    ]
    clear = (thing.extent + extent) ** 2
    distances = [(x - thing.x) ** 2 + (y - thing.y) ** 2 for x, y in places]
    best = next((row for row, distance in enumerate(distances) if distance >= clear), distances.index(max(distances)))
    return Pose(*places[best], extent, randomness.uniform(-14, 14), randomness.chance(0.5))


def _pixels(points: Floats) -> Floats:
    """Means over the fine points of each pixel: [S * f, S * f, ...] -> [S, S, ...], summed in a fixed order."""
    total = np.zeros((SIZE, SIZE, *points.shape[2:]), dtype=np.float32)
    for row in range(FINENESS):
        for column in range(FINENESS):
            total += points[row::FINENESS, column::FINENESS]
    return total / np.float32(FINENESS * FINENESS)
