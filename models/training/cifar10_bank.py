"""Make the ``cifar10`` bank: rank features, draw contact sheets for a person to look at, join the labels given."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

from models.agreement import decide
from models.backbone import Backbone
from models.bank import WEIGHTS, Bank, Exemplar, Feature, Manifest, Votes
from models.bank_writing import write_bank
from models.encoder import EncoderSpec
from models.importance import top_features
from models.masks import nams
from models.training.features import Activations, activations, forward, importances, statistics
from models.training.pictures import LabelledPictures

TOP = 5
"""Features labelled per class, as in Salient ImageNet."""

EXEMPLARS = 5
SHEET_PICTURES = 14
SHEET_ZOOM = 3
RANKING_PICTURES = 20_000
"""Training pictures that rank the features and give their statistics."""


class Judgement(BaseModel):
    """What a person saw in one feature of one class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature_index: int = Field(ge=0)
    kind: Literal["main_object", "background", "separate_object"]
    seen: str = Field(description="What the heat maps lie on, in a few words.")


class Judgements(BaseModel):
    """All answers of one look through the contact sheets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    annotator: str
    weights_digest: str = Field(description="SHA-256 of the weights that the sheets were drawn with, hexadecimal.")
    classes: dict[str, tuple[Judgement, ...]]


@dataclass(frozen=True)
class Ranked:
    """An encoder with the top features of each class on the pictures that ranked them. weights: its safetensors."""

    spec: EncoderSpec
    weights: Path
    backbone: Backbone
    pictures: LabelledPictures
    found: Activations
    importances: NDArray[np.float64]
    channels: list[list[int]]

    @classmethod
    def of(cls, encoder: Path, training: LabelledPictures) -> Ranked:
        """Rank on ``RANKING_PICTURES`` of the training pictures, evenly spread over the classes.

        encoder: folder as the store keeps it, ``encoder.json`` beside its weights; of the pictures' classes.
        """
        pictures = training.spread(RANKING_PICTURES)
        record = json.loads((encoder / "encoder.json").read_text(encoding="utf-8"))
        spec = EncoderSpec.model_validate(record["spec"])
        backbone = Backbone.load(
            encoder / WEIGHTS,
            architecture=spec.backbone.architecture,
            arguments=spec.backbone.arguments,
            num_classes=len(spec.classes),
            preprocessing=spec.backbone.preprocessing,
            runtime="torch",
            precision="fp32",
        )
        found = activations(backbone, pictures.images)
        values = importances(found, backbone.weight.cpu())
        channels = [top_features(row, TOP) for row in values]
        return cls(spec, encoder / WEIGHTS, backbone, pictures, found, values, channels)

    def strongest(self, class_index: int, channel: int, count: int) -> torch.Tensor:
        """Rows of the pictures predicted as the class on which the feature is strongest, int64 [count]."""
        group = (self.found.predicted == class_index).nonzero()[:, 0]
        return group[self.found.phi[group, channel].argsort(descending=True, stable=True)[:count]]


def draw_sheets(ranked: Ranked, folder: Path) -> None:
    """One PNG a class: for each top feature a row of its strongest pictures over a row of their heat maps."""
    folder.mkdir(parents=True, exist_ok=True)
    side = ranked.pictures.images.shape[-1] * SHEET_ZOOM
    for class_index, channels in enumerate(ranked.channels):
        sheet = Image.new("RGB", (SHEET_PICTURES * side, len(channels) * (2 * side + 14)), "white")
        pen = ImageDraw.Draw(sheet)
        for position, channel in enumerate(channels):
            rows = ranked.strongest(class_index, channel, SHEET_PICTURES)
            images = ranked.pictures.images[rows]
            maps = torch.cat([features.maps[:, [channel]].cpu() for features in forward(ranked.backbone, images)])
            pictures = functional.interpolate(images.float() / 255, size=side, mode="bilinear")
            masks = functional.interpolate(nams(maps), size=side, mode="bilinear")[:, 0]
            heat = torch.from_numpy(colormaps["jet"](masks.numpy())[..., :3]).permute(0, 3, 1, 2).float()
            top = position * (2 * side + 14)
            share = float(ranked.importances[class_index, channel])
            pen.text((2, top + 1), f"rank {position + 1}: feature {channel}, importance {share:.3f}", fill="black")
            for line, tiles in enumerate((pictures, 0.5 * pictures + 0.5 * heat)):
                strip = (tiles.permute(2, 0, 3, 1).reshape(side, -1, 3) * 255).round().to(torch.uint8).numpy()
                sheet.paste(Image.fromarray(strip), (0, top + 14 + line * side))
        sheet.save(folder / f"{class_index}-{ranked.pictures.classes[class_index]}.png")


def write_cifar10_bank(ranked: Ranked, judgements: Judgements, destination: Path) -> Bank:
    """Write the bank. Raises ValueError where the judgements are of other weights or miss a top feature."""
    if judgements.weights_digest != ranked.backbone.weights_digest:
        raise ValueError(
            f"the judgements are of weights {judgements.weights_digest}, not "
            f"{ranked.backbone.weights_digest}: draw the contact sheets again and look"
        )
    features, exemplars = [], []
    for class_index, channels in enumerate(ranked.channels):
        name = ranked.pictures.classes[class_index]
        answers = {answer.feature_index: answer for answer in judgements.classes.get(name, ())}
        group = ranked.found.predicted == class_index
        for rank, channel in enumerate(channels, start=1):
            if channel not in answers:
                raise ValueError(f"feature {channel} of {name} has not been judged")
            features.append(_feature(ranked, class_index, channel, rank, answers[channel], group))
            for row in ranked.strongest(class_index, channel, EXEMPLARS).tolist():
                exemplars.append(
                    Exemplar(
                        class_index=class_index,
                        feature_index=channel,
                        sample=ranked.pictures.names[row],
                        activation=float(f"{ranked.found.phi[row, channel]:.6g}"),
                    )
                )
    card: dict[str, Any] = dict(ranked.spec.card)
    card["labelling"] = {
        "labeller": judgements.annotator,
        "status": "provisional: one vote a feature, given by looking at contact sheets of the strongest pictures",
        "pictures": len(ranked.pictures),
        "seen": {name: {str(a.feature_index): a.seen for a in row} for name, row in judgements.classes.items()},
    }
    card["data"] = "CIFAR-10 (Krizhevsky 2009), re-encoded as JPEG by its publisher; the pictures are not shipped"
    manifest = Manifest(
        name="cifar10",
        title="CIFAR-10, provisional labels",
        licence="Apache-2.0 (weights and labels; CIFAR-10's pictures are for research use)",
        labeller=judgements.annotator,
        grouping="predicted",
        classes=ranked.spec.classes,
        backbone=ranked.spec.backbone,
        features=tuple(features),
        exemplars=tuple(exemplars),
        card=card,
    )
    return write_bank(destination, manifest, ranked.weights)


def _feature(
    ranked: Ranked, class_index: int, channel: int, rank: int, answer: Judgement, group: torch.Tensor
) -> Feature:
    votes = Votes(**{answer.kind: 1})
    label, kind = decide(votes)
    return Feature(
        class_index=class_index,
        feature_index=channel,
        rank=rank,
        importance=round(float(ranked.importances[class_index, channel]), 5),
        label=label,
        kind=kind,
        votes=votes,
        statistics=statistics(ranked.found.phi[group, channel]),
    )
