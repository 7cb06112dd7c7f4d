"""Neural activation maps (NAMs) and the core and spurious masks of a class.

Source: Singla & Feizi, Salient ImageNet (ICLR 2022): a NAM is a feature's map over its own maximum, resized to the
picture; a class's mask is the pixelwise maximum over its core (or spurious) features. Their utility returned 1 - NAM
and divided by zero for silent features; here 1 is strongest, and a silent feature gives zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.bank import Feature


@dataclass(frozen=True)
class Selection:
    """The features asked for, one list per picture, as tensors of equal width K (short lists are padded).

    Attributes:
        channels: int64 [N, K], index of the neural feature; 0 in padding.
        core: bool [N, K], True where the feature is labelled core.
        spurious: bool [N, K], True where it is labelled spurious; both are False in padding.
        valid_from: float32 [N, K], the activation from which the class's mask may be believed; +inf in padding.
    """

    channels: Tensor
    core: Tensor
    spurious: Tensor
    valid_from: Tensor

    @classmethod
    def of(cls, features: Sequence[Sequence[Feature]], device: torch.device | str = "cpu") -> Selection:
        """Collect one list of labelled features per picture."""
        shape = len(features), max((len(row) for row in features), default=0)
        channels = torch.zeros(shape, dtype=torch.int64)
        core = torch.zeros(shape, dtype=torch.bool)
        spurious = torch.zeros(shape, dtype=torch.bool)
        valid_from = torch.full(shape, float("inf"))
        for i, row in enumerate(features):
            for k, feature in enumerate(row):
                channels[i, k] = feature.feature_index
                core[i, k] = feature.label == "core"
                spurious[i, k] = feature.label == "spurious"
                valid_from[i, k] = feature.statistics.valid_from
        return cls(*(part.to(device) for part in (channels, core, spurious, valid_from)))

    def gather(self, values: Tensor) -> Tensor:
        """The selected channels of `values` [N, D, ...] as [N, K, ...]; padding repeats channel 0."""
        rows = torch.arange(len(values), device=values.device)[:, None]
        return values[rows, self.channels]

    def valid(self, phi: Tensor) -> Tensor:
        """bool [N, K]: whether each activation (of phi, float [N, D]) lies in its validated range."""
        return self.gather(phi) >= self.valid_from


def nams(maps: Tensor) -> Tensor:
    """Each map over its own maximum.

    Args:
        maps: float [..., h, w]; of components, which have negative values too, only the positive part counts.

    Returns:
        float [..., h, w] in [0, 1]; all zeros where the map is nowhere positive.
    """
    maps = maps.clamp(min=0)
    peak = maps.amax(dim=(-2, -1), keepdim=True)
    return maps / torch.where(peak > 0, peak, torch.ones_like(peak))


def union(masks: Tensor, members: Tensor) -> Tensor:
    """Pixelwise maximum over the member masks of each picture.

    Args:
        masks: float [N, K, H, W] in [0, 1].
        members: bool [N, K].

    Returns:
        float [N, H, W] in [0, 1]; zeros where a picture has no member.
    """
    if masks.shape[1] == 0:
        return masks.new_zeros(masks.shape[0], *masks.shape[2:])
    return (masks * members[..., None, None]).amax(dim=1)
