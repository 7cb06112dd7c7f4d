"""How core and spurious masks share a picture, and the spurious mask with the core taken out.

Source: Spuriosity Rankings (Moayeri et al., NeurIPS 2023, appendix B) removes what a spurious mask shares with the
consolidated core mask, the pixelwise maximum over the core features.
"""

from __future__ import annotations

import torch
from torch import Tensor

COVERED_FROM = 0.5
"""Mask from which a pixel counts as covered."""

PARTS = ("core_only", "spurious_only", "both", "neither")


def partition(core: Tensor, spurious: Tensor) -> Tensor:
    """The shares of each picture that lie in one mask, in the other, in both and in neither.

    Args:
        core, spurious: float [N, H, W] in [0, 1].

    Returns:
        float32 [N, 4] in the order of `PARTS`, each row adding up to 1.
    """
    in_core, in_spurious = core >= COVERED_FROM, spurious >= COVERED_FROM
    parts = (in_core & ~in_spurious, in_spurious & ~in_core, in_core & in_spurious, ~in_core & ~in_spurious)
    return torch.stack([part.flatten(1).float().mean(dim=1) for part in parts], dim=1)


def without_core(spurious: Tensor, core: Tensor) -> Tensor:
    """The spurious mask with the core taken out, min(m_spurious, 1 - m_core): [N, H, W] twice -> [N, H, W].

    It is covered (above 1/2) exactly where `partition` says that only the spurious mask is.
    """
    return torch.minimum(spurious, 1 - core)
