"""Train the family of ordinary classifiers whose reliance on cues is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from models.planted.scenes import Rates, draw_scenes
from models.training.artefacts import provenance, write_json
from models.training.classifier import train_classifier
from models.training.plan import Plan
from models.training.planted_pictures import draw_pictures
from models.training.reliance import Interventions, measure_reliance


def train_family(
    plan: Plan,
    members: Mapping[str, Rates],
    training: tuple[int, int],
    judging: tuple[int, int],
    out: Path,
    work: Path,
    device: torch.device,
) -> None:
    """Write each member's ONNX file and spec, and ``family.json`` with what was measured of all.

    members: name -> how often cues are shown in its training pictures, which is all that the members differ in.
    training, judging: (number of scenes, seed). work: folder for checkpoints and drawn pictures.
    """
    interventions = Interventions.of(draw_scenes(*judging, Rates()))
    scenes = {name: draw_scenes(*training, rates) for name, rates in members.items()}
    different = list(dict.fromkeys(scene for member in scenes.values() for scene in member))
    row = {scene: position for position, scene in enumerate(different)}
    drawn = draw_pictures(different, work)
    cards: list[dict[str, Any]] = []
    minutes = 0.0
    for name, rates in members.items():
        pictures = drawn.subset([row[scene] for scene in scenes[name]])
        classifier, member_minutes = train_classifier(plan, pictures, name, out, work, device)
        minutes += member_minutes
        cards.append({"name": name, "rates": asdict(rates), **measure_reliance(classifier, interventions)})
    write_json(
        out / "family.json",
        {
            "reliance": "accuracy with own cues minus accuracy on the same pictures with other classes' cues, "
            "mean over the classes that have cues",
            "judged_on": {"pictures": judging[0], "seed": judging[1]},
            "trained_on": {"pictures": training[0], "seed": training[1]},
            "members": cards,
            **provenance(plan, minutes, device),
        },
    )
