"""The exact, signed split of a logit over features and pixels.

For a network that ends in global average pooling and a linear head, with maps F [D, h, w] and |U| = h * w,

    f_c = b_c + sum_u sum_j W_cj F_j(u) / |U|,

so `A_J(u) = sum_{j in J} W_cj F_j(u) / |U|` is what the features J contribute at u, without any approximation. The
map with J = all features is the class activation map of Zhou et al. (CVPR 2016) in logit units.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.backbone import Features
from models.masks import Selection


@dataclass(frozen=True)
class Contributions:
    """The parts of N logits, in logit units.

    `core`, `spurious` and `unlabelled` (float32 [N, h, w]) sum over pixels and parts, with `bias` [N], to `logit`
    [N]. `per_feature` [N, K] is each selected feature's share (0 in padding).
    """

    core: Tensor
    spurious: Tensor
    unlabelled: Tensor
    per_feature: Tensor
    bias: Tensor
    logit: Tensor


def contributions(
    features: Features, weight: Tensor, bias: Tensor, classes: Tensor, selection: Selection
) -> Contributions:
    """Split the logit of one class per picture.

    Args:
        features: one forward of the backbone over N pictures.
        weight: float [C, D], the head.
        bias: float [C].
        classes: int64 [N], the class whose logit is split.
        selection: the labelled features of that class, one list per picture.
    """
    rows = weight[classes]
    pixels = features.maps.shape[-2] * features.maps.shape[-1]
    total = torch.einsum("nd,ndhw->nhw", rows, features.maps[:, : rows.shape[1]]) / pixels
    # What follows the channels are components: theirs are parts of the logit already.
    rows = functional.pad(rows, (0, features.maps.shape[1] - rows.shape[1]), value=1.0)
    labelled = (selection.core | selection.spurious).to(rows.dtype)
    selected_weight = selection.gather(rows) * labelled
    parts = selection.gather(features.maps) * (selected_weight / pixels)[..., None, None]
    core = (parts * selection.core[..., None, None]).sum(dim=1)
    spurious = (parts * selection.spurious[..., None, None]).sum(dim=1)
    return Contributions(
        core=core,
        spurious=spurious,
        unlabelled=total - core - spurious,
        per_feature=parts.sum(dim=(-2, -1)),
        bias=bias[classes],
        logit=features.logits.gather(1, classes[:, None])[:, 0],
    )
