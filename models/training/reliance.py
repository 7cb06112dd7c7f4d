"""How much a classifier truly relies on planted cues, measured by intervention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.classifiers import Classifier
from models.planted.scenes import BACKGROUND_CUES, PROP_CUES, Scene
from models.training.classifier import right
from models.training.pictures import LabelledPictures
from models.training.planted_pictures import draw_pictures

CUED_CLASSES = tuple(sorted(BACKGROUND_CUES.keys() | PROP_CUES.keys()))


@dataclass(frozen=True)
class Interventions:
    """The same scenes three times: with the label's own cues, with other classes' cues instead, and without any."""

    own: LabelledPictures
    swapped: LabelledPictures
    without: LabelledPictures

    @classmethod
    def of(cls, scenes: Sequence[Scene]) -> Interventions:
        """Draw the three versions of each scene."""
        own = [scene.with_own_cues() for scene in scenes]
        return cls(
            draw_pictures(own),
            draw_pictures([scene.with_cues_swapped() for scene in own]),
            draw_pictures([scene.without_cues() for scene in own]),
        )


def measure_reliance(classifier: Classifier, interventions: Interventions) -> dict[str, Any]:
    """True reliance: accuracy with the own cues minus accuracy on the same pictures with the cues swapped.

    Returns {"reliance", "own_cues", "swapped_cues", "no_cues": means over the classes that have cues, each class
    counting alike, "by_class": {class: the same}}; all in [-1, 1].
    """
    outcomes = {
        "own_cues": right(classifier, interventions.own),
        "swapped_cues": right(classifier, interventions.swapped),
        "no_cues": right(classifier, interventions.without),
    }
    pictures = interventions.own
    by_class = {}
    for index, name in enumerate(pictures.classes):
        rows = pictures.labels.numpy() == index
        shares = {key: float(values[rows].mean()) for key, values in outcomes.items()}
        by_class[name] = {"reliance": shares["own_cues"] - shares["swapped_cues"], **shares}
    means = {
        key: float(np.mean([by_class[name][key] for name in CUED_CLASSES])) for key in ("reliance", *outcomes.keys())
    }
    return {
        **{key: round(value, 4) for key, value in means.items()},
        "by_class": {name: {key: round(value, 4) for key, value in row.items()} for name, row in by_class.items()},
    }
