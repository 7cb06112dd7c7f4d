"""What a backbone's penultimate features do on many pictures: activations, importance, statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.backbone import Backbone, Features
from models.bank import Statistics
from models.importance import importance
from models.moments import Moments

QUANTILE = 0.8
"""A mask is valid on the top 20 % of its class, as in the second validation study of Salient ImageNet."""


@dataclass(frozen=True)
class Activations:
    """phi: float32 [N, D], >= 0; predicted: int64 [N], the class of the largest logit."""

    phi: torch.Tensor
    predicted: torch.Tensor


def forward(backbone: Backbone, images: torch.Tensor, batch_size: int = 100) -> Iterator[Features]:
    """The backbone's features of pictures uint8 [N, 3, s, s], one batch after the other."""
    for batch in images.split(batch_size):
        yield backbone.forward(batch)


def activations(backbone: Backbone, images: torch.Tensor) -> Activations:
    """Penultimate features and predictions of pictures uint8 [N, 3, s, s]."""
    phi, predicted = zip(*((f.phi.cpu(), f.logits.argmax(1).cpu()) for f in forward(backbone, images)), strict=True)
    return Activations(torch.cat(phi), torch.cat(predicted))


def importances(found: Activations, weight: torch.Tensor) -> NDArray[np.float64]:
    """Importance of every feature for every class, float64 [C, D], over the pictures predicted as the class.

    Zero for a class that is never predicted.
    """
    groups = [found.phi[found.predicted == index] for index in range(len(weight))]
    return importance(np.stack([Moments.of(group).mean for group in groups]), weight)


def statistics(activation: torch.Tensor) -> Statistics:
    """Statistics of one feature's activations float [N] on the pictures of one class."""
    values = activation.double()
    return Statistics(
        images=len(values),
        mean=_short(values.mean()),
        std=_short(values.std(unbiased=False)),
        valid_from=_short(values.quantile(QUANTILE)),
        valid_to=_short(values.max()),
        quantile=QUANTILE,
    )


def _short(value: torch.Tensor) -> float:
    return float(f"{float(value):.6g}")
