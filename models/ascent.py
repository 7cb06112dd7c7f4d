"""Pictures made to raise what a feature reads: what every such climb takes in and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import FeaturesError

Activation = Callable[[Tensor], Tensor]
"""Differentiable: pictures float [N, 3, s, s] in [0, 1] -> what is to be raised on each, float [N].

Row n must depend on picture n alone; rows may read different features."""

SIDE = 224
"""Pixels of a side for which the published step and radius are stated."""

SMALLEST_NORM = 1e-10


@dataclass(frozen=True)
class Ascent:
    """The best pictures that N climbs came to.

    Attributes:
        pictures: float32 [N, 3, s, s] in [0, 1], of every climb the one with the highest activation.
        trajectory: float32 [N, steps + 1], the highest activation after so many steps; never falls.
    """

    pictures: Tensor
    trajectory: Tensor

    @property
    def activations(self) -> Tensor:
        """float32 [N], of `pictures`."""
        return self.trajectory[:, -1]


class Best:
    """The best picture of each climb so far."""

    def __init__(self, pictures: Tensor, values: Tensor) -> None:
        """Start from the first pictures. Raises FeaturesError where a value is no number."""
        if not bool(values.isfinite().all()):
            raise FeaturesError(
                "the activation to be raised is not a finite number on the first picture",
                field="activation",
                remedy="check the encoder's weights: they are damaged or overflow",
            )
        self.pictures = pictures.clone()
        self.values = values
        self._trajectory = [values]

    def take_in(self, pictures: Tensor, values: Tensor) -> Tensor:
        """Compare with the next pictures; bool [N], True where they are better."""
        better = values > self.values
        self.pictures = torch.where(_rows(better), pictures, self.pictures)
        self.values = torch.where(better, values, self.values)
        self._trajectory.append(self.values)
        return better

    def ascent(self) -> Ascent:
        """What was come to."""
        return Ascent(self.pictures, torch.stack(self._trajectory, dim=1))


@contextmanager
def gradients() -> Iterator[None]:
    """Gradients are recorded, whatever the caller has turned off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def climb(activation: Activation, pictures: Tensor, onwards: bool = True) -> tuple[Tensor, Tensor]:
    """Activations float32 [N] and the directions float [N, 3, s, s], of norm 1, in which they rise fastest.

    A direction is zero where nothing rises, as for a feature that does not fire, and everywhere if not `onwards`: after
    the last step nobody asks for it.
    """
    if not onwards:
        with torch.no_grad():
            return activation(pictures).float(), torch.zeros_like(pictures)
    pictures = pictures.detach().requires_grad_()
    values = activation(pictures)
    (gradient,) = torch.autograd.grad(values.sum(), pictures)
    return values.detach().float(), unit(gradient)


def unit(batch: Tensor) -> Tensor:
    """Each of N pictures over its L2 norm; zeros stay."""
    return batch / _rows(batch.flatten(1).norm(dim=1) + SMALLEST_NORM)


def of_channels(features: Callable[[Tensor], Tensor], channels: Tensor) -> Activation:
    """The activation of one channel of phi per picture.

    Args:
        features: differentiable, pictures -> phi float [N, D], as `Backbone.activations`.
        channels: int64 [N], one per picture.
    """
    return lambda pictures: features(pictures).gather(1, channels[:, None])[:, 0]


def of_directions(features: Callable[[Tensor], Tensor], directions: Tensor) -> Activation:
    """The activation of one linear function of phi per picture, such as a neural principal component.

    Args:
        features: as in `of_channels`.
        directions: float [N, D], one per picture, as `Components.directions`.
    """
    return lambda pictures: (features(pictures) * directions).sum(dim=1)


def _rows(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
