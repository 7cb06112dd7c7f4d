"""What discovery computes beyond the encoder's forward, beside that forward."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from models.ascent import of_channels
from models.components import ClassComponents
from models.feature_attack import feature_attack
from models.geometry import prepare
from tests.bench.harness import Ratio, interleave, paired_ratio
from tests.bench.subjects import IMAGENET, decoded, photograph_classes, resnet50_bank

CLASS_PICTURES = 1300
"""Of a class of ImageNet's training set."""

FORWARD_PICTURES, BATCH = 104, 8
"""The forward is timed over so many pictures and scaled to `CLASS_PICTURES`: its time is proportional to them."""

PAIRS = 2
STEPS = 20
"""Of the timed attack, where one of 100 is meant: its closing forward then weighs five times as much as it should."""


def measure(folder: Path) -> list[Ratio]:
    """Both ratios."""
    bank = resnet50_bank(folder, photograph_classes())
    default = bank.backbone(cache=folder / "cache")
    pictures = torch.stack([prepare(picture, IMAGENET) for picture in decoded(BATCH)])
    batch = pictures[torch.arange(BATCH) % len(pictures)]
    width = default.weight.shape[1]
    phi = torch.rand(CLASS_PICTURES, width, generator=torch.Generator().manual_seed(0)).pow(4)

    def forward() -> None:
        for _ in range(FORWARD_PICTURES // BATCH):
            default.forward(batch)

    def components() -> None:
        ClassComponents.of_features(phi, default.weight[0], float(default.bias[0])).alphas(phi)

    seconds = interleave({"forward": forward, "components": components}, rounds=3)
    scaled = [spent * CLASS_PICTURES / FORWARD_PICTURES for spent in seconds["forward"]]
    return [
        Ratio(
            "neural PCA of a class over the ResNet-50 forward of its 1,300 pictures",
            paired_ratio(seconds["components"], scaled),
            "<= 1.00",
            {
                "forward_seconds_scaled_from_104_pictures": round(sorted(scaled)[1], 2),
                "neural_pca_seconds": round(sorted(seconds["components"])[1], 2),
                "features": width,
                "runtime": default.runtime,
            },
        ),
        _attack(bank.backbone(runtime="torch", precision="fp32").activations, batch[:PAIRS].float() / 255),
    ]


def _attack(features: Callable[[torch.Tensor], torch.Tensor], pictures: torch.Tensor) -> Ratio:
    activation = of_channels(features, torch.arange(len(pictures)))

    def bare() -> None:
        for _ in range(STEPS):
            moved = pictures.detach().requires_grad_()
            torch.autograd.grad(activation(moved).sum(), moved)

    seconds = interleave({"attack": lambda: feature_attack(activation, pictures, steps=STEPS), "bare": bare}, rounds=5)
    middle = {name: round(sorted(spent)[len(spent) // 2], 2) for name, spent in seconds.items()}
    return Ratio(
        "feature attack over its forward and backward passes",
        paired_ratio(seconds["attack"], seconds["bare"]),
        "<= 1.10",
        {"seconds": middle, "steps": STEPS, "pairs": len(pictures), "side": pictures.shape[-1]},
    )
