"""Where a feature truly lies on planted pictures, by their exact masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.validation_job import TOP
from models.agreement import Place
from models.bank import Bank
from models.bank_folders import BUILT_IN
from models.masks import nams
from models.planted.rendering import Picture, render
from models.planted.scenes import Rates, draw_scene
from models.training.features import activations, forward
from models.training.overlap import best_region, upsampled
from models.training.pictures import read_archive

Verdict = Place | None
"""Where a mask lies on one picture; None where it is silent."""


def most_mass(mask: NDArray[np.floating], picture: Picture) -> Verdict:
    """The region that holds most of a soft mask float [96, 96], by its sum; None where it is silent."""
    mass: dict[Place, float] = {
        "main_object": float(mask[picture.object_mask].sum()),
        "separate_object": float(mask[picture.prop_mask].sum()),
        "background": float(mask[picture.background_mask].sum()),
    }
    return max(mass, key=lambda place: mass[place]) if any(mass.values()) else None


RULES: Mapping[str, Callable[[NDArray[np.floating], Picture], Verdict]] = {"overlap": best_region, "mass": most_mass}
"""overlap: the region shown best by average precision over chance, as the planted bank is labelled; mass: the region
with the largest share of the mask's sum, which large regions win more easily."""


def verdict(rule: str, mask: NDArray[np.floating], picture: Picture, class_name: str) -> Verdict:
    """Where a mask lies by one of the rules; an object that is not the class's is a separate object."""
    place = RULES[rule](mask, picture)
    return "separate_object" if place == "main_object" and picture.scene.shown != class_name else place


class Exact:
    """The pictures of an archive, the planted backbone's features on them, and their exact masks."""

    def __init__(self, archive: Path, rates: Rates) -> None:
        self._pictures = read_archive(archive)
        self._rates = rates
        self._backbone = Bank.load(BUILT_IN / "planted").backbone(runtime="torch", precision="fp32")
        self._found = activations(self._backbone, self._pictures.images)
        self._row = {name: row for row, name in enumerate(self._pictures.names)}
        self._render = cache(self._drawn)

    def top(self, class_index: int, feature: int) -> list[str]:
        """Names of the class's top fifth: pictures predicted as the class, those where the channel is strongest."""
        group = (self._found.predicted == class_index).nonzero()[:, 0]
        order = group[self._found.phi[group, feature].argsort(descending=True, stable=True)]
        return [self._pictures.names[row] for row in order[: math.ceil(TOP * len(group))].tolist()]

    def verdicts(self, class_index: int, feature: int, names: Sequence[str]) -> dict[str, list[Verdict]]:
        """By rule, where the channel's masks lie on these pictures."""
        images = self._pictures.images[[self._row[name] for name in names]]
        maps = torch.cat([features.maps[:, feature].cpu() for features in forward(self._backbone, images)])
        masks = upsampled(nams(maps)[:, None])[:, 0].numpy()
        label = self._pictures.classes[class_index]
        shown = [self._render(name) for name in names]
        return {rule: [verdict(rule, *pair, label) for pair in zip(masks, shown, strict=True)] for rule in RULES}

    def _drawn(self, name: str) -> Picture:
        """A member of the archive drawn again: its name says class, seed and index."""
        path = PurePosixPath(name)
        seed, index = map(int, path.stem.split("-"))
        return render(draw_scene(path.parent.name, seed, index, self._rates))
