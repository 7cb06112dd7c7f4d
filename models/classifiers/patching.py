"""A classifier's file with another head, or with SpuFix behind it.

What such a file was made of can be changed again: SpuFix that stands behind a head is recognised, and each method
starts from the head without it. SpuFix of SpuFix takes the same evidence off once, not twice, and a head that is fitted
anew does not have the evidence of its former weights taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.classifiers.linear_head import Floats, LinearHead
from models.classifiers.spec import ClassifierSpec
from models.spufix import Correction, Evidence

if TYPE_CHECKING:
    from onnx import ModelProto

    from models.classifiers.onnx_head import OnnxHead


def with_head(path: Path, spec: ClassifierSpec, layer: LinearHead, notes: Mapping[str, str]) -> bytes:
    """The file with another weight and bias in its last linear layer, and without SpuFix, which was of the former ones.

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

    from models.classifiers.onnx_patch import annotate, replace_head

    model = onnx.load_model(path, load_external_data=False)
    head, _ = _bare(model, spec)
    replace_head(model, head, layer)
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

    A network in safetensors is exported first. Of SpuFix that stands there already, what it takes off other scores
    stays.

    Args:
        evidence: L pieces of it.
        outputs: int [L], the score that each is taken off.
        pictures: float32 [N, 3, s, s] in [0, 1], on which an export must give the network's scores; for safetensors.

    Raises:
        HeadError: it has no linear head.
        ClassifierError: it cannot be exported, or the export gives other scores.
    """
    import onnx

    from models.classifiers.onnx_patch import annotate, subtract_evidence

    if spec.format == "safetensors":
        from models.classifiers.safetensors_export import export

        assert pictures is not None
        model = export(path, spec, pictures)
    else:
        model = onnx.load_model(path, load_external_data=False)
    head, former = _bare(model, spec)
    correction = Correction(evidence, outputs, len(head.layer.bias))
    subtract_evidence(model, head, correction if former is None else former.renewed(correction))
    annotate(model, notes)
    return bytes(model.SerializeToString(deterministic=True))


def _bare(model: ModelProto, spec: ClassifierSpec) -> tuple[OnnxHead, Correction | None]:
    """The head of a model, once nothing stands behind it, and what SpuFix took off its scores."""
    from models.classifiers.onnx_head import find_head, scores_output
    from models.classifiers.onnx_spufix import remove_spufix

    output = scores_output(model, spec.output_name)
    head = find_head(model, output)
    if head.spufix is None:
        return head, None
    remove_spufix(model.graph, head.spufix)
    return find_head(model, output), head.spufix.correction


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
