"""Random changes of the training pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Changes:
    """What is to be done to each of N pictures.

    mirrored: bool [N], or None; shifts: int64 [2, N, 1], rows and columns in [0, 2 padding], or None.
    """

    mirrored: torch.Tensor | None
    shifts: torch.Tensor | None

    def of(self, share: slice) -> Changes:
        """The changes of some of the pictures."""
        return Changes(
            None if self.mirrored is None else self.mirrored[share],
            None if self.shifts is None else self.shifts[:, share],
        )


@dataclass(frozen=True)
class Augmentation:
    """Each picture is changed on its own.

    flip: mirror left and right for half of the pictures; padding: shift by up to this many pixels each way, the border
    being reflected.
    """

    flip: bool = True
    padding: int = 0

    def draw(self, count: int, generator: torch.Generator) -> Changes:
        """Changes of ``count`` pictures. The generator lives on the CPU."""
        mirrored = torch.rand(count, generator=generator) < 0.5 if self.flip else None
        shifts = torch.randint(0, 2 * self.padding + 1, (2, count, 1), generator=generator) if self.padding else None
        return Changes(mirrored, shifts)

    def change(self, images: torch.Tensor, changes: Changes) -> torch.Tensor:
        """Pictures float [N, 3, S, S] in [0, 1] -> the same shape and range."""
        if changes.mirrored is not None:
            images = torch.where(changes.mirrored.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)
        if changes.shifts is not None:
            side = images.shape[-1]
            padded = functional.pad(images, [self.padding] * 4, mode="reflect")
            rows, columns = (changes.shifts + torch.arange(side)).to(images.device)
            pictures = torch.arange(len(images), device=images.device).view(-1, 1, 1)
            images = padded[pictures, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
        return images

    def apply(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw changes and make them."""
        return self.change(images, self.draw(len(images), generator))
