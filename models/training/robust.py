"""Train a robust backbone and write its weights and card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from models.training.artefacts import provenance, write_json, write_network
from models.training.evaluation import accuracy, robust_accuracy
from models.training.loop import normaliser, train
from models.training.pictures import LabelledPictures
from models.training.plan import Plan

ROBUST_PICTURES = 1000
"""Held-out pictures that the 20-step attack is run on."""


def train_robust(
    plan: Plan,
    training: LabelledPictures,
    held_out: LabelledPictures,
    out: Path,
    device: torch.device,
    others: Mapping[str, LabelledPictures] | None = None,
) -> None:
    """Write ``backbone.safetensors`` and ``card.json`` into ``out``, measured on pictures not trained on.

    others: further held-out pictures whose accuracies go into the card under these names.
    """
    out.mkdir(parents=True, exist_ok=True)
    trained = train(plan, training, out / "checkpoint.pt", device)
    normalise = normaliser(plan, device)

    def forward(images: torch.Tensor) -> torch.Tensor:
        return trained.network(normalise(images))

    attacked = held_out.spread(ROBUST_PICTURES)
    epsilon = plan.attack.epsilon if plan.attack else 0.0
    write_network(trained.network, out / "backbone.safetensors")
    write_json(
        out / "card.json",
        {
            "classes": list(training.classes),
            "training_pictures": len(training),
            "held_out_pictures": len(held_out),
            "accuracy": {
                "clean": round(accuracy(forward, held_out, device), 4),
                "robust": round(robust_accuracy(forward, attacked, epsilon, device), 4),
                "robust_attack": f"L2 {epsilon}, 20 steps, on {len(attacked)} held-out pictures",
                **{name: round(accuracy(forward, pictures, device), 4) for name, pictures in (others or {}).items()},
            },
            **provenance(plan, trained.minutes, device),
        },
    )
