"""The pictures that the panel is audited on: planted ones, and others that show a class's cues without its object."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace

from PIL import Image

from jobs.datasets import Sample
from models.planted.randomness import Randomness
from models.planted.rendering import render
from models.planted.scenes import CLASSES, Scene, draw_scene
from models.training.recipes import PLANTED_TEST_RATES
from models.training.reliance import CUED_CLASSES

SPURIOUS_ONLY = 75
"""Of each class, as in Spurious ImageNet."""


def audited(classes: Sequence[str], per_class: int, seed: int) -> list[Scene]:
    """Scenes as any data set has them, cues in most."""
    return [draw_scene(name, seed, index, PLANTED_TEST_RATES) for name in classes for index in range(per_class)]


def spurious_only(seed: int) -> list[Scene]:
    """Scenes with all cues of the class that is their label, and the object of any other class."""
    return [_cue_alone(name, seed, index) for name in CUED_CLASSES for index in range(SPURIOUS_ONLY)]


def _cue_alone(name: str, seed: int, index: int) -> Scene:
    scene = draw_scene(name, seed, index, PLANTED_TEST_RATES).with_own_cues()
    others = [other for other in CLASSES if other != name]
    return replace(scene, shown=Randomness(seed, index, "cue without object", name).pick(others))


def drawn(scenes: Iterable[Scene]) -> list[Sample]:
    """Their pictures as a data set's."""
    found: list[Sample] = []
    for scene in scenes:
        stream = io.BytesIO()
        Image.fromarray(render(scene).image).save(stream, "BMP")
        found.append(Sample(len(found), f"{scene.label}/{scene.index}", CLASSES.index(scene.label), stream.getvalue()))
    return found
