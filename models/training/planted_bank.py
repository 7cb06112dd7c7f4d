"""Make the ``planted`` bank: rank features, label them by the exact masks, judge the masks on other pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from models.agreement import decide
from models.backbone import Backbone
from models.bank import BackboneEntry, Bank, Exemplar, Feature, Manifest
from models.bank_writing import write_bank
from models.importance import top_features
from models.planted.painter import SIZE
from models.planted.rendering import Picture, render
from models.planted.scenes import CLASSES, Scene
from models.preprocessing import Preprocessing
from models.training.features import Activations, activations, forward, importances, statistics
from models.training.overlap import agreement, vote
from models.training.plan import Plan
from models.training.precision import mask_precision
from models.training.progress import progress

LABELLER = "exact-mask overlap (planted)"
RANKED = 16
"""Features of each class, by importance, that are put to the vote.

Five, as in Salient ImageNet, would leave some classes without a core feature: where a cue mostly holds, its features
fill the first ranks, though the network knows the object too (see the cue-free accuracy).
"""

FIRST = 5
"""The card also says what masks of only so many features would reach, the number that Salient ImageNet labelled."""

VOTERS = 15
"""Pictures that vote on a feature: those of its class on which it is strongest."""

AGREEMENT = 0.9
"""A feature whose pictures agree less on core or spurious shows parts of both, and stays unlabelled."""

EXEMPLARS = 5
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Labelled:
    """A labelled feature and its strongest pictures, strongest first: rows of the labelling set."""

    feature: Feature
    rows: list[int]


def make_planted_bank(
    plan: Plan, trained: Path, labelling: Sequence[Scene], judging: Sequence[Scene], destination: Path
) -> Bank:
    """Write the bank of the backbone in ``trained`` (weights and card, see ``models.training.robust``).

    labelling: scenes that rank and label the features; judging: scenes of another seed, that measure the masks.
    """
    preprocessing = Preprocessing(size=SIZE, mean=plan.mean, std=plan.std)
    backbone = Backbone.load(
        trained / "backbone.safetensors",
        architecture=plan.architecture,
        arguments=plan.arguments,
        num_classes=len(CLASSES),
        preprocessing=preprocessing,
        runtime="torch",
        precision="fp32",
    )
    pictures = _draw(labelling, "drawing pictures to label with")
    images = _tensor(pictures)
    found = activations(backbone, images)
    labelled = label_features(backbone, found, images, pictures)
    by_class: dict[int, list[Feature]] = {}
    for row in labelled:
        by_class.setdefault(row.feature.class_index, []).append(row.feature)
    card: dict[str, Any] = json.loads((trained / "card.json").read_text(encoding="utf-8"))
    card["labelling"] = {
        "labeller": LABELLER,
        "rule": f"of the {RANKED} most important features of a class: the {VOTERS} strongest pictures predicted as the "
        "class vote for the region shown best; unlabelled where less than nine tenths agree on core or spurious",
        "pictures": len(labelling),
        "seed": labelling[0].seed,
    }
    unseen = _draw(judging, "drawing pictures to judge with")
    first = {index: [feature for feature in rows if feature.rank <= FIRST] for index, rows in by_class.items()}
    card["mask_average_precision"] = {
        "pictures": len(judging),
        "seed": judging[0].seed,
        **mask_precision(backbone, by_class, unseen),
        f"first_{FIRST}_features_alone": mask_precision(backbone, first, unseen),
    }
    exemplars, files = _exemplars(labelled, found, pictures)
    manifest = Manifest(
        name="planted",
        title="Planted pictures with exact object and cue masks",
        licence="Apache-2.0",
        labeller=LABELLER,
        grouping="predicted",
        classes=CLASSES,
        backbone=BackboneEntry(
            architecture=plan.architecture,
            arguments=dict(plan.arguments),
            preprocessing=preprocessing,
            maps=tuple(next(forward(backbone, images[:1])).maps.shape[1:]),
        ),
        features=tuple(row.feature for row in labelled),
        exemplars=exemplars,
        card=card,
    )
    return write_bank(destination, manifest, trained / "backbone.safetensors", files)


def label_features(
    backbone: Backbone, found: Activations, images: torch.Tensor, pictures: Sequence[Picture]
) -> list[Labelled]:
    """The top features of each class, labelled by the exact masks of ``pictures`` (whose pixels are ``images``).

    A feature whose pictures do not agree is left out; ranks count it.
    """
    labelled = []
    for class_index, values in enumerate(importances(found, backbone.weight.cpu())):
        group = (found.predicted == class_index).nonzero()[:, 0]
        for rank, channel in enumerate(top_features(values, RANKED), start=1):
            strongest = group[found.phi[group, channel].argsort(descending=True, stable=True)[:VOTERS]]
            maps = torch.cat([features.maps[:, channel].cpu() for features in forward(backbone, images[strongest])])
            votes = vote(maps, [pictures[row] for row in strongest.tolist()])
            if agreement(votes) < AGREEMENT:
                continue
            label, kind = decide(votes)
            feature = Feature(
                class_index=class_index,
                feature_index=channel,
                rank=rank,
                importance=round(float(values[channel]), 5),
                label=label,
                kind=kind,
                votes=votes,
                statistics=statistics(found.phi[group, channel]),
            )
            labelled.append(Labelled(feature, strongest[:EXEMPLARS].tolist()))
    return labelled


def _exemplars(
    labelled: Sequence[Labelled], found: Activations, pictures: Sequence[Picture]
) -> tuple[tuple[Exemplar, ...], dict[str, bytes]]:
    exemplars, files = [], {}
    for entry in labelled:
        feature = entry.feature
        for position, row in enumerate(entry.rows):
            name = f"exemplars/{feature.class_index}-{feature.feature_index}-{position}.jpg"
            stream = io.BytesIO()
            Image.fromarray(pictures[row].image).save(stream, "JPEG", quality=JPEG_QUALITY)
            files[name] = stream.getvalue()
            scene = pictures[row].scene
            exemplars.append(
                Exemplar(
                    class_index=feature.class_index,
                    feature_index=feature.feature_index,
                    sample=f"{scene.label}/{scene.seed}-{scene.index}",
                    activation=float(f"{found.phi[row, feature.feature_index]:.6g}"),
                    picture=name,
                )
            )
    return tuple(exemplars), files


def _draw(scenes: Sequence[Scene], title: str) -> list[Picture]:
    pictures = []
    with progress(title, len(scenes)) as advance:
        for scene in scenes:
            pictures.append(render(scene))
            advance()
    return pictures


def _tensor(pictures: Sequence[Picture]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(picture.image.transpose(2, 0, 1).copy()) for picture in pictures])
