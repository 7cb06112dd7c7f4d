"""The bounded attacks against which the robust backbones are trained and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

SMALLEST_NORM = 1e-12

Norm = Literal["l2", "linf"]


@dataclass(frozen=True)
class Attack:
    """Projected gradient descent in a ball around each picture (Madry et al. 2018, arXiv 1706.06083).

    epsilon: radius of the ball, in units of pictures with values in [0, 1]; steps: gradient steps, at least 1;
    step_size: length of each step, the same unit; norm: what the ball is measured in. In ``l2`` a step goes along the
    gradient, in ``linf`` along its signs.
    """

    epsilon: float
    steps: int
    step_size: float
    norm: Norm = "l2"

    def start(self, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
        """Random offsets float ``shape`` [N, 3, H, W] inside the ball, on the generator's device.

        ``l2``: uniform in direction and in radius; ``linf``: uniform in the cube.
        """
        if self.norm == "linf":
            return (torch.rand(shape, generator=generator, device=generator.device) * 2 - 1) * self.epsilon
        direction = torch.randn(shape, generator=generator, device=generator.device)
        radius = torch.rand((shape[0], 1, 1, 1), generator=generator, device=generator.device) * self.epsilon
        return _unit(direction) * radius

    def perturb(
        self,
        forward: Callable[[torch.Tensor], torch.Tensor],
        images: torch.Tensor,
        labels: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Pictures float [N, 3, H, W] in [0, 1], each within ``epsilon`` of ``images``, that raise the loss.

        forward: pictures -> logits [N, C]; labels: int64 [N]; generator: draws the random start.
        """
        return self.ascend(forward, images, labels, self.start(images.shape, generator))

    def ascend(
        self,
        forward: Callable[[torch.Tensor], torch.Tensor],
        images: torch.Tensor,
        labels: torch.Tensor,
        start: torch.Tensor,
    ) -> torch.Tensor:
        """As ``perturb``, from these offsets [N, 3, H, W]."""
        moved = images + start.to(images.device)
        for _ in range(self.steps):
            moved = moved.detach().clamp(0, 1).requires_grad_()
            loss = functional.cross_entropy(forward(moved).float(), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            moved = images + self._projected(moved.detach() + self.step_size * self._direction(gradient) - images)
        return moved.detach().clamp(0, 1)

    def _direction(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.sign() if self.norm == "linf" else _unit(gradient)

    def _projected(self, offset: torch.Tensor) -> torch.Tensor:
        if self.norm == "linf":
            return offset.clamp(-self.epsilon, self.epsilon)
        return offset * (self.epsilon / _norm(offset).clamp(min=SMALLEST_NORM)).clamp(max=1)


def _norm(batch: torch.Tensor) -> torch.Tensor:
    return batch.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def _unit(batch: torch.Tensor) -> torch.Tensor:
    return batch / _norm(batch).clamp(min=SMALLEST_NORM)
