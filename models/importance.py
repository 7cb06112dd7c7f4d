"""Which features a class's logit rests on: the importance of neural features, and what forms a class's group."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from models.errors import FeaturesError

Grouping = Literal["predicted", "label", "both"]
"""Which pictures form a class's group G(c): those predicted as c (Salient ImageNet; Barlow), those labelled c (Barlow's
other choice; neural PCA), or those that are both (Spuriosity Rankings)."""

OUTSIDE = -1


def group_of(predicted: Tensor, labels: Tensor, grouping: Grouping) -> Tensor:
    """The class in whose group each picture is.

    Args:
        predicted: int64 [N], class of the largest logit.
        labels: int64 [N]; -1 where a picture's label is none of the classes.
        grouping: the convention.

    Returns:
        int64 [N]; -1 for pictures in no group.

    Raises:
        FeaturesError: there is no such convention, or the two do not belong together.
    """
    if predicted.shape != labels.shape:
        raise FeaturesError(f"{len(predicted)} predictions and {len(labels)} labels do not go together", field="labels")
    if grouping == "predicted":
        return predicted.long()
    if grouping == "label":
        return labels.long()
    if grouping == "both":
        return torch.where(predicted == labels, labels, OUTSIDE).long()
    raise FeaturesError(f"unknown grouping {grouping!r}: predicted, label and both are known", field="grouping")


def importance(means: ArrayLike, weight: ArrayLike) -> NDArray[np.float64]:
    """IV(c, j) = mean over G(c) of phi_j * W_cj (Singla & Feizi, ICLR 2022), in logit units.

    Args:
        means: float [..., D], the mean of phi over the group of each class; zeros for an empty group.
        weight: float [..., D], the rows of the head of the same classes.

    Returns:
        float64 [..., D].

    Raises:
        FeaturesError: the two are not of one shape, or a value is not finite.
    """
    mean, row = np.asarray(means, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    if mean.shape != row.shape:
        raise FeaturesError(f"means of shape {mean.shape} do not go with head rows of shape {row.shape}", field="phi")
    values: NDArray[np.float64] = mean * row
    if not np.isfinite(values).all():
        raise FeaturesError("importance is not finite: the head or the means of the features are not", field="phi")
    return values


def top_features(values: ArrayLike, count: int) -> list[int]:
    """The features of highest importance (float [D]), best first, ties by index; only those that add to the logit."""
    every = np.asarray(values, dtype=np.float64)
    return [int(j) for j in np.argsort(-every, kind="stable")[:count] if every[j] > 0]
