"""A classifier's file with another head, or with SpuFix behind it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.classifiers.linear_head import Floats, LinearHead
from models.classifiers.spec import ClassifierSpec
from models.spufix import Evidence


def with_head(path: Path, spec: ClassifierSpec, layer: LinearHead, notes: Mapping[str, str]) -> bytes:
    """The file with another weight and bias in its last linear layer.

    Args:
        path: a file that `models.classifiers.inspect_file` let pass.
        spec: what its owner declares about it.
        layer: of the shapes that the present one has.
        notes: what is said about it in the metadata of an ONNX file.

    Raises:
        HeadError: it has no linear head.
    """
    if spec.format == "safetensors":
        return _safetensors_with_head(path, spec, layer)
    import onnx

    from models.classifiers.onnx_head import find_head, scores_output
    from models.classifiers.onnx_patch import annotate, replace_head

    model = onnx.load_model(path, load_external_data=False)
    replace_head(model, find_head(model, scores_output(model, spec.output_name)), layer)
    annotate(model, notes)
    return bytes(model.SerializeToString(deterministic=True))


def with_spufix(
    path: Path,
    spec: ClassifierSpec,
    evidence: Evidence,
    outputs: np.ndarray,
    notes: Mapping[str, str],
    pictures: Floats | None = None,
) -> bytes:
    """An ONNX file with nodes behind its head that take spurious evidence off some scores; arguments as `with_head`.

    A network in safetensors is exported first.

    Args:
        evidence: L pieces of it.
        outputs: int [L], the score that each is taken off.
        pictures: float32 [N, 3, s, s] in [0, 1], on which an export must give the network's scores; for safetensors.

    Raises:
        HeadError: it has no linear head.
        ClassifierError: it cannot be exported, or the export gives other scores.
    """
    import onnx

    from models.classifiers.onnx_head import find_head, scores_output
    from models.classifiers.onnx_patch import annotate, subtract_evidence

    if spec.format == "safetensors":
        from models.classifiers.safetensors_export import export

        assert pictures is not None
        model = export(path, spec, pictures)
    else:
        model = onnx.load_model(path, load_external_data=False)
    head = find_head(model, scores_output(model, spec.output_name))
    subtract_evidence(model, head, evidence, outputs)
    annotate(model, notes)
    return bytes(model.SerializeToString(deterministic=True))


def _safetensors_with_head(path: Path, spec: ClassifierSpec, layer: LinearHead) -> bytes:
    import torch
    from safetensors.torch import load_file, save

    from models.classifiers.safetensors import open_classifier

    opened = open_classifier(path, spec, "cpu", 1, True, None, features=True)
    state = load_file(path)
    for name, values in (("weight", layer.weight), ("bias", layer.bias)):
        key = f"{opened.head_name}.{name}"
        if key in state:
            state[key] = torch.from_numpy(values.copy()).to(state[key].dtype)
    return save(state)
