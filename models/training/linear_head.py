"""The cheap way to an encoder of one's own classes: a linear head on the features of a frozen one.

Spuriosity Rankings (Moayeri et al. 2023, arXiv 2212.02648) uses heads like this to rank pictures of any data set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from models.families import family_of

ROUNDS = 200
HISTORY = 10
CHUNK = 8192
"""Rows of features in memory at a time."""


@dataclass(frozen=True)
class Head:
    """weight: float32 [C, D], bias: float32 [C], for features as they are; loss: mean cross-entropy reached, nats."""

    weight: torch.Tensor
    bias: torch.Tensor
    loss: float

    def on(self, state: Mapping[str, torch.Tensor], architecture: str) -> dict[str, torch.Tensor]:
        """The weights of a network with this head in place of its own."""
        name = family_of(architecture).head
        return {**state, f"{name}.weight": self.weight, f"{name}.bias": self.bias}


def without_head(state: Mapping[str, torch.Tensor], architecture: str) -> dict[str, torch.Tensor]:
    """The weights of a network but those of its head."""
    head = f"{family_of(architecture).head}."
    return {name: tensor for name, tensor in state.items() if not name.startswith(head)}


def fit_head(
    features: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    weight_decay: float,
    still_wanted: Callable[[], None] = lambda: None,
    given: torch.Tensor | None = None,
) -> Head:
    """Multinomial logistic regression by full-batch L-BFGS on standardised features; deterministic.

    It stops after ``ROUNDS`` rounds, or when no gradient exceeds 1e-6 or the loss changes by less than 1e-9.

    features: float32 [N, D], may be mapped from a file, of which ``CHUNK`` rows at a time are read; labels: int64 [N];
    weight_decay: factor of half the squared weights of standardised features; still_wanted: called for every chunk,
    what it raises ends the fit; given: float32 [N, classes], logits that the head's own are added to, so that it is
    what has to change about another head. Features that never vary get no weight.
    """
    mean, std = _moments(features, still_wanted)
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=ROUNDS,
        history_size=HISTORY,
        tolerance_grad=1e-6,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def loss_of(part: slice) -> torch.Tensor:
        logits = (features[part] - mean) / std @ weight.T + bias
        if given is not None:
            logits = logits + given[part]
        return functional.cross_entropy(logits, labels[part], reduction="sum")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        total = 0.5 * weight_decay * weight.square().sum()
        total.backward()
        value = total.detach()
        for start in range(0, len(labels), CHUNK):
            still_wanted()
            loss = loss_of(slice(start, start + CHUNK))
            (loss / len(labels)).backward()
            value = value + loss.detach() / len(labels)
        return value

    optimiser.step(closure)
    with torch.no_grad():
        loss = sum(float(loss_of(slice(start, start + CHUNK))) for start in range(0, len(labels), CHUNK)) / len(labels)
        folded = weight / std
        return Head(folded, bias - folded @ mean, loss)


def _moments(features: torch.Tensor, still_wanted: Callable[[], None]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of every feature, float32 [D]; 1 for one that does not vary."""
    total = torch.zeros(features.shape[1], dtype=torch.float64)
    for rows in features.split(CHUNK):
        still_wanted()
        total += rows.double().sum(0)
    mean = total / len(features)
    squares = torch.zeros_like(mean)
    for rows in features.split(CHUNK):
        squares += (rows.double() - mean).square().sum(0)
    std = (squares / len(features)).sqrt()
    return mean.float(), torch.where(std > 1e-8, std, 1.0).float()
