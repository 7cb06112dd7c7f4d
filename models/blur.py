"""Gaussian blur of whole batches, of any width, at the cost of two matrix products."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def gaussian_blur(pictures: Tensor, sigma: float) -> Tensor:
    """Pictures under a Gaussian kernel; beyond the edge there is nothing, and the weights within it add up to 1.

    Args:
        pictures: float [N, C, H, W].
        sigma: standard deviation of the kernel in pixels, > 0.

    Returns:
        float [N, C, H, W] within the range of the pictures.
    """
    height, width = pictures.shape[-2:]
    rows, columns = (_kernel(side, sigma).to(pictures) for side in (height, width))
    return rows @ pictures @ columns.T


@lru_cache(maxsize=64)
def _kernel(side: int, sigma: float) -> Tensor:
    """float32 [side, side]: how much of each pixel (second axis) every blurred one takes; rows sum to 1."""
    place = torch.arange(side, dtype=torch.float64)
    weight = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    return (weight / weight.sum(dim=1, keepdim=True)).float()
