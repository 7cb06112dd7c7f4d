"""Swapped cues: a picture that shows another picture's spurious features in place of its own.

Two such pictures are compared, with features of a picture of the same class and with those of one of another class;
both are pasted alike, so what a classifier loses from the first to the second it loses to what the cues say. This is
the gap between mixed-same and mixed-rand backgrounds of Xiao et al. ("Noise or Signal", ICLR 2021), with the masks of
features where they had outlines of objects. What it answers more often with the other class's features than with its
own is that other class, as far as they speak for it: their pull.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.donors import Donor
from jobs.variants import Seen
from jobs.views import View
from models.masks import union

PASTED_FROM = 0.25
"""Activation, relative to its peak, from which a spurious feature's place is swapped."""

KEPT_FROM = 0.5
"""The same from which a core feature's place is left alone, on the picture and on the donor."""


def regions(seen: Seen) -> tuple[Tensor, Tensor]:
    """Where the spurious features that count lie, and where any core feature does: bool [N, s, s] on CPU, twice."""
    spurious = union(seen.masks, seen.spurious) > PASTED_FROM
    core = union(seen.masks, seen.selection.core) >= KEPT_FROM
    return spurious.cpu(), core.cpu()


def lenders(views: list[View], seen: Seen) -> list[Donor]:
    """Those of N pictures that clearly show spurious features."""
    spurious, core = regions(seen)
    return [
        Donor(views[i].row, views[i].class_index, views[i].classifier_pixels, spurious[i], core[i])
        for i in seen.spurious.any(dim=1).nonzero()[:, 0].tolist()
    ]


def swap(picture: Tensor, spurious: Tensor, core: Tensor, donor: Donor) -> Tensor:
    """The picture with the donor's pixels where either shows spurious and neither core features.

    Args:
        picture: uint8 [3, s, s].
        spurious, core: its `regions`, bool [s, s].
        donor: of the same s.

    Returns:
        uint8 [3, s, s].
    """
    pasted = (spurious | donor.spurious) & ~(core | donor.core)
    return torch.where(pasted, donor.pixels, picture)
