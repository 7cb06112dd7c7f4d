"""Explanations as plain tensors, for the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from service.maps import PARTS, Explanation


def arrays(
    names: Sequence[str], explanations: Sequence[Explanation], side: int, phi: Tensor, logits: Tensor
) -> dict[str, NDArray[Any]]:
    """The outputs asked for of one picture.

    Args:
        names: of the outputs.
        explanations: of the one class explained.
        side: of the network's input, pixels.
        phi, logits: float32 [D] and [C].

    Returns:
        `masks`: float32 [2, side, side], core and spurious, 0 where the class has no such features; `phi`; `logits`;
        `class`: int64 [], the class explained.
    """
    (explanation,) = explanations
    found: dict[str, NDArray[Any]] = {}
    if "masks" in names:
        nothing = np.zeros((side, side), np.float32)
        found["masks"] = np.stack([explanation.masks.get(label, nothing) for label in PARTS[:2]]).astype(np.float32)
    if "phi" in names:
        found["phi"] = phi.cpu().numpy()
    if "logits" in names:
        found["logits"] = logits.cpu().numpy()
    if "class" in names:
        found["class"] = np.asarray(explanation.pair.class_index, np.int64)
    return found
