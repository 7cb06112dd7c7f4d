"""A classifier in safetensors as an ONNX graph, and the proof that both are the same classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto

from models.classifiers import onnx, safetensors
from models.classifiers.linear_head import Floats, HeadError
from models.classifiers.onnx_graph import MOST_BYTES
from models.classifiers.spec import ClassifierSpec
from models.errors import ClassifierError
from models.training.onnx_export import to_onnx

TOLERANCE = 1e-3
"""Largest difference between the network's scores (or features) and the graph's, over the largest of them."""

REMEDY = "export the classifier to ONNX yourself and upload that, or use the method head-refit"


def export(path: Path, spec: ClassifierSpec, pictures: Floats) -> ModelProto:
    """The network as a graph for any number of pictures, which gives the same scores from the same features.

    Args:
        path: a file that `models.classifiers.inspect_file` let pass.
        spec: what its owner declares about it; `spec.exported()` is the graph's.
        pictures: float32 [N, 3, s, s] in [0, 1], N >= 1, that both are tried on.

    Raises:
        HeadError: the network has no linear head.
        ClassifierError: it cannot be exported, or the graph gives other scores.
    """
    original = safetensors.open_classifier(path, spec, "cpu", 1, True, None)
    size = sum(tensor.numel() * tensor.element_size() for tensor in original.network.state_dict().values())
    if size >= MOST_BYTES:
        raise ClassifierError(
            f"its weights take {size} bytes as float32; an ONNX file ends below {MOST_BYTES}",
            field="classifier",
            remedy="export it to ONNX yourself with float16 weights and upload that, or use the method head-refit",
        )
    try:
        model = to_onnx(original.network, spec.preprocessing.size)
    except Exception as error:  # torch's exporter raises whatever its steps raise
        raise ClassifierError(
            f"torch cannot export {spec.architecture!r} to ONNX: {error}", field="classifier", remedy=REMEDY
        ) from error
    original.find_head()  # after the export: what is hooked to the network would be exported too
    require_same(original, model, spec, pictures)
    return model


def require_same(
    original: safetensors.SafetensorsClassifier, model: ModelProto, spec: ClassifierSpec, pictures: Floats
) -> None:
    """Compare scores and features of a network and its graph, on all pictures at once and on one alone.

    Args:
        original: opened with its head.
        model: exported from it.
        spec: of the former.
        pictures: as for `export`.

    Raises:
        HeadError: the graph has no linear head, or not the network's.
        ClassifierError: its scores are others.
    """
    exported = onnx.open_classifier(model.SerializeToString(), spec.exported(), "cpu", 1, True, None, features=True)
    for batch in (pictures, pictures[:1]):
        (scores, features), (theirs, own) = original.look(batch), exported.look(batch)
        if features.shape != own.shape or not _apart(features, own) <= TOLERANCE:
            raise HeadError("the exported network has another last linear layer than the network", remedy=REMEDY)
        if not (apart := _apart(scores, theirs)) <= TOLERANCE:
            raise ClassifierError(
                f"the exported network gives other scores than the network: on {len(batch)} pictures they differ by "
                f"up to {apart:.3g} of the largest, and {TOLERANCE:g} is rounding",
                field="classifier",
                remedy=REMEDY,
            )


def _apart(first: Floats, second: Floats) -> float:
    return float(np.abs(first - second).max() / max(1.0, float(np.abs(first).max())))
