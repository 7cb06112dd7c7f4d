"""What a feature truly shows of a class: its object, its background cue, its separate-object cue, or none of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Self

import numpy as np
import torch

from models.backbone import Backbone
from models.bank import Kind
from models.masks import nams
from models.planted.rendering import Picture, render
from models.planted.scenes import BACKGROUND_CUES, CLASSES, PROP_CUES, Rates, Scene, draw_scenes
from models.training.features import forward
from models.training.overlap import best_region, upsampled
from models.training.progress import progress

KINDS: tuple[Kind, ...] = ("main_object", "background", "separate_object")

VOTERS = 15
"""Pictures that vote on a feature: those of the class on which it is strongest."""

AGREEMENT = 0.8
"""Share of the voters that must see the same part, 12 of 15."""

STRAY = 0.1
"""Where the class's own cue is missing, every other class's cue of that kind is shown this often."""


def kinds_of(label: str) -> tuple[Kind, ...]:
    """What there is to be found of a class: its object always, and the cues that it has."""
    present = {"main_object": True, "background": label in BACKGROUND_CUES, "separate_object": label in PROP_CUES}
    return tuple(kind for kind in KINDS if present[kind])


def judging_scenes(per_class: int, seed: int) -> list[Scene]:
    """Scenes of every class, classes in turn: object, background cue and separate-object cue come and go by turns.

    In half of them the object is another class's; each cue that the class has is shown in half of them, independently
    (``per_class`` divisible by 8). So the pictures on which a feature is strongest tell whether it is for this class's
    object or cue, or for any object, background or prop.
    """
    scenes = []
    for scene in draw_scenes(per_class * len(CLASSES), seed, Rates(rho=0.0, stray=STRAY)):
        turn = scene.index // len(CLASSES)
        if turn & 1:
            others = [name for name in CLASSES if name != scene.label]
            scene = replace(scene, shown=others[turn // 2 % len(others)])
        if turn & 2 and scene.label in BACKGROUND_CUES:
            scene = replace(scene, background=BACKGROUND_CUES[scene.label])
        if turn & 4 and scene.label in PROP_CUES:
            scene = replace(scene, prop=PROP_CUES[scene.label])
        scenes.append(scene)
    return scenes


def part_shown(mask: np.ndarray, picture: Picture) -> Kind | None:
    """The part of the picture's class that a soft mask float [96, 96] shows.

    None where the region that it shows best is another class's object or prop or no cue, and for a silent mask.
    """
    scene = picture.scene
    present = {
        "main_object": scene.shown == scene.label,
        "background": scene.has_background_cue,
        "separate_object": scene.has_prop_cue,
    }
    if not any(present.values()):
        return None
    region = best_region(mask, picture)
    return region if region is not None and present[region] else None


def shown(maps: torch.Tensor, pictures: Sequence[Picture]) -> Kind | None:
    """What a feature shows of a class, by its maps float [N, h, w] on those of its pictures that it is strongest on.

    Of maps with both signs (components) the positive part counts. None where fewer than ``AGREEMENT`` of the pictures
    agree.
    """
    needed = ceil(AGREEMENT * len(pictures))
    votes: Counter[Kind | None] = Counter()
    for left, (one, picture) in zip(range(len(pictures) - 1, -1, -1), zip(maps, pictures, strict=True), strict=True):
        mask = upsampled(nams(one)[None, None])[0, 0].numpy()
        votes[part_shown(mask, picture)] += 1
        if max(votes[kind] for kind in KINDS) + left < needed:
            return None
    return next((kind for kind in KINDS if votes[kind] >= needed), None)


@dataclass(frozen=True)
class JudgingPictures:
    """Pictures that features are judged on. images: uint8 [N, 3, 96, 96] of ``pictures``."""

    pictures: tuple[Picture, ...]
    images: torch.Tensor

    @classmethod
    def draw(cls, per_class: int, seed: int) -> Self:
        """Draw them, see ``judging_scenes``."""
        pictures = []
        scenes = judging_scenes(per_class, seed)
        with progress("drawing pictures to judge with", len(scenes)) as advance:
            for scene in scenes:
                pictures.append(render(scene))
                advance()
        images = torch.stack([torch.from_numpy(picture.image.transpose(2, 0, 1).copy()) for picture in pictures])
        return cls(tuple(pictures), images)


class Judge:
    """A backbone's features on the judging pictures, class by class."""

    def __init__(self, backbone: Backbone, judging: JudgingPictures) -> None:
        found = list(forward(backbone, judging.images))
        self._phi = torch.cat([features.phi.cpu() for features in found])
        self._maps = torch.cat([features.maps.cpu() for features in found])
        self._pictures = judging.pictures

    def judge(self, class_index: int, directions: torch.Tensor) -> list[Kind | None]:
        """What each of K features shows of a class.

        directions: float [K, D]: a feature reads ``q . phi`` and its map is ``q . F(u)``; unit rows are channels.
        """
        rows = [row for row, picture in enumerate(self._pictures) if picture.scene.label == CLASSES[class_index]]
        readings = self._phi[rows] @ directions.T
        result = []
        for direction, reading in zip(directions, readings.T, strict=True):
            strongest = [rows[place] for place in reading.argsort(descending=True, stable=True)[:VOTERS].tolist()]
            maps = torch.einsum("d,ndhw->nhw", direction, self._maps[strongest])
            result.append(shown(maps, [self._pictures[row] for row in strongest]))
        return result
