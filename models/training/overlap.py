"""Which exactly known region of planted pictures a feature's masks show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from models.bank import Kind, Votes
from models.masks import nams
from models.planted.painter import SIZE
from models.planted.rendering import Picture
from models.statistics import average_precision


def upsampled(masks: torch.Tensor) -> torch.Tensor:
    """Masks float [N, K, h, w] at the pictures' size, bilinear with half-pixel centres."""
    return functional.interpolate(masks, size=(SIZE, SIZE), mode="bilinear", align_corners=False)


def best_region(mask: np.ndarray, picture: Picture) -> Kind | None:
    """The region that a soft mask float [96, 96] shows best; None where it is silent.

    Regions differ in size, so they are compared by average precision over chance: (AP - share) / (1 - share).
    """
    regions: dict[Kind, np.ndarray] = {
        "main_object": picture.object_mask,
        "separate_object": picture.prop_mask,
        "background": picture.background_mask,
    }
    if not mask.any():
        return None
    lifts = {
        kind: (average_precision(mask, region) - region.mean()) / (1 - region.mean())
        for kind, region in regions.items()
        if region.any()
    }
    return max(lifts, key=lambda kind: lifts[kind])


def vote(maps: torch.Tensor, pictures: Sequence[Picture]) -> Votes:
    """One vote for each picture: the region that the feature's map float [N, h, w] shows best on it."""
    masks = upsampled(nams(maps)[:, None])[:, 0].numpy()
    counts = Counter(best_region(mask, picture) for mask, picture in zip(masks, pictures, strict=True))
    return Votes(
        main_object=counts["main_object"], background=counts["background"], separate_object=counts["separate_object"]
    )


def agreement(votes: Votes) -> float:
    """Share in [0, 1] of the votes that agree on core or spurious; 0 without votes."""
    spurious = votes.background + votes.separate_object
    return max(votes.main_object, spurious) / max(votes.main_object + spurious, 1)
