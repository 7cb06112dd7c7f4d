"""Random changes of the training pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Each picture is changed on its own.

    flip: mirror left and right for half of the pictures; padding: shift by up to this many pixels each way, the border
    being reflected.
    """

    flip: bool = True
    padding: int = 0

    def apply(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Pictures float [N, 3, S, S] in [0, 1] -> the same shape and range. The generator lives on the CPU."""
        count, _, side, _ = images.shape
        if self.flip:
            mirrored = torch.rand(count, generator=generator) < 0.5
            images = torch.where(mirrored.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)
        if self.padding:
            padded = functional.pad(images, [self.padding] * 4, mode="reflect")
            shifts = torch.randint(0, 2 * self.padding + 1, (2, count, 1), generator=generator)
            rows, columns = (shifts + torch.arange(side)).to(images.device)
            pictures = torch.arange(count, device=images.device).view(-1, 1, 1)
            images = padded[pictures, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
        return images
