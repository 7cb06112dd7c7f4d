"""One decoded picture as the backbone and the classifier see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.geometry import Placement, Preprocessing, place, prepare


@dataclass(frozen=True)
class View:
    """A picture prepared for both networks.

    Attributes:
        row, sample: which picture of the data set.
        class_index: its class in the bank.
        backbone_pixels, classifier_pixels: uint8 [3, s, s], RGB, each of its own size.
        source, target: where these two inputs lie on the picture.
    """

    row: int
    sample: str
    class_index: int
    backbone_pixels: Tensor
    classifier_pixels: Tensor
    source: Placement
    target: Placement


def view_of(
    pixels: NDArray[np.uint8],
    row: int,
    sample: str,
    class_index: int,
    backbone: Preprocessing,
    classifier: Preprocessing,
) -> View:
    """Resize and crop a picture (uint8 [H, W, 3]) for both networks, once where both see the same pixels."""
    height, width = pixels.shape[:2]
    backbone_pixels = prepare(pixels, backbone)
    return View(
        row=row,
        sample=sample,
        class_index=class_index,
        backbone_pixels=backbone_pixels,
        classifier_pixels=backbone_pixels if _same_pixels(backbone, classifier) else prepare(pixels, classifier),
        source=place(backbone, height, width),
        target=place(classifier, height, width),
    )


def _same_pixels(first: Preprocessing, second: Preprocessing) -> bool:
    return all(
        getattr(first, name) == getattr(second, name)
        for name in ("size", "resize", "resize_rule", "interpolation", "antialias")
    )
