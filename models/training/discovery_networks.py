"""The networks that discovery is measured on besides the shipped one: trained once, then kept."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from models.backbone import Backbone
from models.planted.painter import SIZE
from models.planted.scenes import CLASSES, draw_scenes
from models.preprocessing import Preprocessing
from models.training import recipes
from models.training.artefacts import write_network
from models.training.attack import Attack
from models.training.loop import train
from models.training.pictures import LabelledPictures
from models.training.plan import Plan
from models.training.planted_pictures import draw_pictures

ORDINARY_PLAN = replace(recipes.PLANTED_BACKBONE, attack=None)
"""The shipped backbone's plan without adversarial training."""

RHOS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

RHO_PLAN = replace(
    recipes.PLANTED_BACKBONE, epochs=6, attack=Attack(epsilon=0.5, steps=1, step_size=0.5), averaging=0.99
)
RHO_PICTURES, RHO_SEED = 1500, 31
"""Much smaller runs than the shipped one, which sees 8,000 pictures eight times and attacks with two steps."""

RHO_RATES = replace(recipes.PLANTED_RATES, by_class={}, shuffled=0.0)
"""The object always tells the label, so that only ``rho`` says how good a shortcut the cue is."""


def ordinary_backbone(work: Path, device: torch.device) -> Backbone:
    """An ordinarily trained twin of the shipped backbone: the same pictures, schedule and seed."""
    scenes = draw_scenes(recipes.PLANTED_PICTURES, recipes.PLANTED_SEED, recipes.PLANTED_RATES)
    return kept_backbone(ORDINARY_PLAN, draw_pictures(scenes, work), work, device)


def rho_backbones(work: Path, device: torch.device) -> dict[float, Backbone]:
    """For each of ``RHOS`` a small robust backbone of pictures that show their class's cues at that rate."""
    scenes = {rho: draw_scenes(RHO_PICTURES, RHO_SEED, replace(RHO_RATES, rho=rho)) for rho in RHOS}
    different = list(dict.fromkeys(scene for drawn in scenes.values() for scene in drawn))
    row = {scene: position for position, scene in enumerate(different)}
    pictures = draw_pictures(different, work)
    return {
        rho: kept_backbone(RHO_PLAN, pictures.subset([row[scene] for scene in drawn]), work, device)
        for rho, drawn in scenes.items()
    }


def kept_backbone(plan: Plan, pictures: LabelledPictures, work: Path, device: torch.device) -> Backbone:
    """The backbone of this plan and these pictures, to be run on the CPU; trained unless ``work`` holds it.

    It is kept under a digest of both; a change of the training's code does not change the digest.
    """
    digest = hashlib.sha256(repr(plan).encode())
    digest.update(pictures.labels.numpy().tobytes())
    digest.update(pictures.images.numpy().tobytes())
    weights = work / f"network-{digest.hexdigest()[:16]}.safetensors"
    if not weights.exists():
        work.mkdir(parents=True, exist_ok=True)
        write_network(train(plan, pictures, weights.with_suffix(".pt"), device).network, weights)
    return Backbone.load(
        weights,
        architecture=plan.architecture,
        arguments=plan.arguments,
        num_classes=len(CLASSES),
        preprocessing=Preprocessing(size=SIZE, mean=plan.mean, std=plan.std),
        runtime="torch",
        precision="fp32",
    )
