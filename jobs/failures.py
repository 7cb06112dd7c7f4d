"""Where an inspected classifier fails: the features of a class that tell its failures (Barlow)."""

from __future__ import annotations

from jobs.discovery_request import DiscoveryRequest
from jobs.phi_sample import PhiSample
from models.draft import FailureFigures
from models.failure_modes import FailureModes, failure_modes


def find_failures(sample: PhiSample, request: DiscoveryRequest) -> tuple[list[tuple[int, FailureFigures]], str]:
    """The features on the paths to failing leaves, those of the most important leaf first.

    Args:
        sample: the pictures of one class, by label, with what the classifier predicts.
        request: depth of the tree and seed.

    Returns:
        Each feature with its figures, and why there is none, in words.
    """
    found = failure_modes(sample.phi, sample.inspected != sample.label, depth=request.failure_depth, seed=request.seed)
    if not found.features:
        return [], f"No failure mode of the classifier: {found.empty or 'no leaf fails more often than the class'}."
    return [(feature, _figures(found, feature)) for feature in found.features], ""


def _figures(found: FailureModes, feature: int) -> FailureFigures:
    """Those of the most important failing leaf on whose path the feature lies."""
    leaf, condition = next(
        (leaf, condition) for leaf in found.modes for condition in leaf.path if condition.feature == feature
    )
    return FailureFigures(
        threshold=condition.threshold,
        below=not condition.above,
        pictures=leaf.pictures,
        base_error_rate=found.base_error_rate,
        error_rate=leaf.error_rate,
        error_coverage=leaf.error_coverage,
        held_out_aler=found.cross_fitted_aler,
        p_value=found.p_value,
    )
