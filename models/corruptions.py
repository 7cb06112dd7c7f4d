"""Corruptions of the masked part of a picture. A new one registers itself in `CORRUPTIONS`; nothing else changes.

Source: Singla & Feizi, Salient ImageNet (ICLR 2022): x' = clip(x + m * sigma * z, 0, 1), z ~ N(0, 1) per pixel and
channel, sigma 0.25. The pictures are the classifier's input pixels in [0, 1], *before* its mean and standard deviation,
so that sigma means the same for every classifier and is divided once (RIVAL10's release divides by 255 twice).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Corruption:
    """One way to destroy what a mask covers.

    Attributes:
        name: as requests and reports call it.
        summary: one sentence for people.
        apply: (pictures [N, 3, H, W] in [0, 1], masks [N, H, W] in [0, 1], draws [N, 3, H, W] standard normal,
            strength) -> corrupted pictures [N, 3, H, W] in [0, 1]; unchanged where the mask is 0.
    """

    name: str
    summary: str
    apply: Callable[[Tensor, Tensor, Tensor, float], Tensor]


CORRUPTIONS: dict[str, Corruption] = {}


def register(corruption: Corruption) -> Corruption:
    """Add a corruption to the table."""
    if corruption.name in CORRUPTIONS:
        raise ValueError(f"a corruption named {corruption.name!r} is registered already")
    CORRUPTIONS[corruption.name] = corruption
    return corruption


def add_gaussian_noise(pictures: Tensor, masks: Tensor, draws: Tensor, strength: float) -> Tensor:
    """clip(x + m * sigma * z, 0, 1); shapes and ranges as in `Corruption.apply`, strength = sigma."""
    return (draws * (masks * strength)[:, None]).add_(pictures).clamp_(0, 1)


GAUSSIAN_NOISE = register(
    Corruption(
        name="gaussian-noise",
        summary="Gaussian noise on every pixel and channel, scaled by the soft mask, clipped to the pixel range.",
        apply=add_gaussian_noise,
    )
)


def draws_of_sample(seed: int, sample: str, shape: tuple[int, ...]) -> np.ndarray:
    """The standard normal draws of one picture, float32 of `shape`.

    They depend on the seed and the sample's id alone, so neither shards nor order change them; every variant of a
    picture uses the same draws, so differences between variants are not differences of luck.
    """
    digest = hashlib.sha256(f"{seed}:{sample}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:16], "little"))
    return generator.standard_normal(shape, dtype=np.float32)


def energies(pictures: Tensor, corrupted: Tensor) -> Tensor:
    """Realised strength ||x' - x||_2 per picture, after clipping; both [N, 3, H, W] -> float [N], >= 0."""
    return (corrupted - pictures).flatten(1).norm(dim=1)
