"""The L2-bounded attack against which the robust backbones are trained and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

SMALLEST_NORM = 1e-12


@dataclass(frozen=True)
class Attack:
    """Projected gradient descent in an L2 ball (Madry et al. 2018, arXiv 1706.06083).

    epsilon: radius of the ball, in units of pictures with values in [0, 1]; steps: gradient steps, at least 1;
    step_size: length of each step, the same unit.
    """

    epsilon: float
    steps: int
    step_size: float

    def perturb(
        self,
        forward: Callable[[torch.Tensor], torch.Tensor],
        images: torch.Tensor,
        labels: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Pictures float [N, 3, H, W] in [0, 1], each within ``epsilon`` of ``images``, that raise the loss.

        forward: pictures -> logits [N, C]; labels: int64 [N]; generator: on the CPU, draws the random start, which
        is uniform in direction and in radius.
        """
        start = torch.randn(images.shape, generator=generator)
        radius = torch.rand((len(images), 1, 1, 1), generator=generator) * self.epsilon
        moved = images + (_unit(start) * radius).to(images.device)
        for _ in range(self.steps):
            moved = moved.detach().clamp(0, 1).requires_grad_()
            loss = functional.cross_entropy(forward(moved).float(), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            offset = moved.detach() + self.step_size * _unit(gradient) - images
            norm = _norm(offset).clamp(min=SMALLEST_NORM)
            moved = images + offset * (self.epsilon / norm).clamp(max=1)
        return moved.detach().clamp(0, 1)


def _norm(batch: torch.Tensor) -> torch.Tensor:
    return batch.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def _unit(batch: torch.Tensor) -> torch.Tensor:
    return batch / _norm(batch).clamp(min=SMALLEST_NORM)
