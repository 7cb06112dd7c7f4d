"""Grad-CAM of the last maps, in closed form for a network that ends in mean -> linear.

Source: Selvaraju et al. 2017 (arXiv 1610.02391), eq. 1 and 2. With logits ``W mean_u F(u) + b`` the gradient of logit c
with respect to ``F_j(u)`` is ``W_cj / |U|`` everywhere, so the map is ``relu(sum_j W_cj F_j(u))`` up to a factor.
"""

from __future__ import annotations

from torch import Tensor


def gradcam(maps: Tensor, class_weights: Tensor) -> Tensor:
    """Where a class's evidence lies.

    Args:
        maps: float [N, D, h, w], >= 0.
        class_weights: float [N, D], for each picture the head's row of the class asked for.

    Returns:
        float [N, h, w], >= 0, in logit units: the mean over positions is the logit without its bias and without the
        positions that speak against the class.
    """
    return (maps * class_weights[:, :, None, None]).sum(dim=1).clamp(min=0)
