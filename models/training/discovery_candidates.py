"""The candidate features that each way of discovery puts forward for every class, the best first.

A candidate is a direction q, float [D]: it reads ``q . phi`` and its map is ``q . F(u)``. A channel is a unit vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from models.backbone import Backbone
from models.classifiers import Classifier
from models.components import ClassComponents
from models.failure_modes import SMALLEST_LEAF, failure_modes
from models.failure_tree import gains
from models.importance import top_features
from models.moments import checked
from models.training.classifier import BATCH
from models.training.features import Activations, importances

Order = Literal["variance", "share"]

Candidates = list[Tensor]
"""For each class float [K, D]; K may be 0."""


def every_channel(backbone: Backbone) -> Candidates:
    """All channels, which chance draws from."""
    classes, width = backbone.weight.shape
    return [torch.eye(width)] * classes


def by_importance(backbone: Backbone, found: Activations, count: int) -> Candidates:
    """The channels of highest importance IV over the pictures predicted as the class (Salient ImageNet)."""
    weight = backbone.weight.cpu()
    return [_channels(top_features(values, count), weight.shape[1]) for values in importances(found, weight)]


def by_components(backbone: Backbone, found: Activations, labels: Tensor, order: Order, count: int) -> Candidates:
    """Neural principal components of the pictures labelled as the class.

    order: "variance" is the components' own, by eigenvalue; "share" is by the standard deviation of alpha,
    |<1, v>| sqrt(eigenvalue): how much the component moves the logit from picture to picture.
    """
    candidates = []
    for index, (row, bias) in enumerate(zip(backbone.weight.cpu(), backbone.bias.cpu(), strict=True)):
        components = ClassComponents.of_features(found.phi[labels == index], row, float(bias))
        values = components.eigenvalues
        if order == "share":
            values = components.vectors.sum(dim=1).abs() * values.sqrt()
        best = values.argsort(descending=True, stable=True)[:count].tolist()
        candidates.append(components.as_components(best).directions)
    return candidates


def by_failure_gain(phi: Tensor, failed: Tensor, group: Tensor, classes: int, count: int) -> Candidates:
    """The channels that tell most, by one threshold, which pictures of the class's group fail: Barlow's selection.

    phi: float [N, D] of the robust backbone; failed: bool [N], of the inspected classifier; group: int64 [N].
    """
    candidates = []
    for index in range(classes):
        rows = group == index
        values, wrong = checked(phi[rows]), failed[rows].numpy()
        told = gains(values, wrong, SMALLEST_LEAF) if 0 < wrong.sum() < len(wrong) else torch.zeros(phi.shape[1])
        candidates.append(_channels(top_features(told, count), phi.shape[1]))
    return candidates


def by_failure_tree(phi: Tensor, failed: Tensor, group: Tensor, classes: int, depth: int) -> Candidates:
    """The channels on the paths to the failing leaves of the class's tree, as ``by_failure_gain`` otherwise."""
    return [
        _channels(
            failure_modes(phi[group == index], failed[group == index], depth=depth, permutations=1).features,
            phi.shape[1],
        )
        for index in range(classes)
    ]


def predictions(classifier: Classifier, images: Tensor) -> Tensor:
    """Classes int64 [N] that a classifier predicts of pictures uint8 [N, 3, s, s]."""
    return torch.cat(
        [torch.from_numpy(classifier.forward((part.float() / 255).numpy())).argmax(1) for part in images.split(BATCH)]
    )


def _channels(indices: Sequence[int], width: int) -> Tensor:
    return torch.eye(width)[list(indices)]
