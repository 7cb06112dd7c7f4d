"""The last linear layer of a classifier and the features that go into it. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import ClassifierError

Floats = NDArray[np.float32]

MOST_FEATURES = 2**16
"""A linear layer on more values than these is one on pixels or maps, not on features."""

TOLERANCE = 1e-2
"""Largest error of recomputed scores over the largest score; float16 heads stay well below."""

REMEDY = "export the classifier so that its scores are what its last linear layer gives (Gemm, MatMul or 1x1 Conv)"


class HeadError(ClassifierError):
    """The classifier has no linear layer whose outputs are its scores."""

    def __init__(self, message: str, remedy: str = REMEDY) -> None:
        super().__init__(message, field="classifier", remedy=remedy)


@dataclass(frozen=True)
class LinearHead:
    """scores = features @ weight.T + bias.

    Attributes:
        weight: float32 [C, D].
        bias: float32 [C]; zeros where the layer has none.
    """

    weight: Floats
    bias: Floats

    def scores(self, features: Floats) -> Floats:
        """float32 [N, C] of features, float32 [N, D]."""
        return features @ self.weight.T + self.bias

    def check(self, features: Floats, scores: Floats) -> None:
        """Find out whether these features [N, D] give these scores [N, C].

        Raises:
            HeadError: they do not, so that this is not the layer the scores come from.
        """
        apart = np.abs(self.scores(features) - scores).max()
        if not apart <= TOLERANCE * max(1.0, float(np.abs(scores).max())):
            raise HeadError(f"its last linear layer gives scores that differ by {apart:.3g} from those of the network")


def as_features(found: np.ndarray, count: int, width: int) -> Floats:
    """The input of a head as float32 [count, width]; maps [N, D, h, w] become their mean over positions.

    Raises:
        HeadError: it has another shape.
    """
    if found.ndim == 4 and found.shape[:2] == (count, width):
        found = found.mean(axis=(2, 3))
    if found.shape != (count, width):
        raise HeadError(
            f"what goes into its last linear layer has the shape {list(found.shape)} for {count} pictures, not "
            f"[{count}, {width}]: one row of features per picture"
        )
    return np.asarray(found, np.float32)
