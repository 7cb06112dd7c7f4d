"""Changes to an ONNX classifier at its head: other weights, or evidence taken off single scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from models.classifiers.linear_head import HeadError, LinearHead
from models.classifiers.onnx_head import OnnxHead, as_kept
from models.classifiers.onnx_spufix import NODES, PREFIX
from models.spufix import Correction


def replace_head(model: ModelProto, head: OnnxHead, layer: LinearHead) -> None:
    """Write another weight and bias into the initializers of a head, of the type they had.

    A weight that other nodes use too, or that is kept in another way (quantised, transposed), is left to them: the head
    gets initializers of its own.
    """
    sound = _fault(model) is None
    node = model.graph.node[head.product]
    _write(model.graph, node, 1, as_kept(node, layer.weight), head.dtype)
    if head.addition is not None:
        addition = model.graph.node[head.addition]
        side = list(addition.input).index(node.output[0])
        kept = layer.bias[:, None, None] if head.maps else layer.bias
        _write(model.graph, addition, 1 - side, kept, head.dtype)
        if len(node.input) > 2:
            del node.input[2:]
    elif node.op_type == "MatMul":
        bias = _added(model.graph, "bias", layer.bias, head.dtype)
        _follow(model.graph, head, [helper.make_node("Add", ["", bias], [""], name=f"{PREFIX}bias")])
    else:
        scale = next((one.f for one in node.attribute if one.name == "beta"), 1.0)
        if len(node.input) < 3:
            node.input.append("")
        _write(model.graph, node, 2, layer.bias / scale, head.dtype)
    if sound:
        _require_sound(model)


def subtract_evidence(model: ModelProto, head: OnnxHead, correction: Correction) -> None:
    """Let a classifier take max(beta, 0) off its scores: nodes behind the head, all of them standard operators.

    Scores that nothing is taken off stay the same, bit by bit: 0 is subtracted from them.

    Args:
        model: changed in place.
        head: of it, nothing behind it.
        correction: what is taken off.
    """
    sound = _fault(model) is None
    graph, evidence = model.graph, correction.evidence
    takes = np.zeros((len(correction.outputs), correction.classes), np.float32)
    takes[np.arange(len(takes)), correction.outputs] = 1
    nodes: list[NodeProto] = []

    def then(operator: str, *inputs: str, **options: Any) -> str:
        result = f"{NODES}_{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [result], name=result, **options))
        return result

    features = head.features
    if head.maps:
        pooled = then("GlobalAveragePool", features)
        features = then("Reshape", pooled, _added(graph, "rows", np.array([0, -1]), TensorProto.INT64))
    if head.dtype != TensorProto.FLOAT:
        features = then("Cast", features, to=TensorProto.FLOAT)
    weight = _added(graph, "spufix_weight", evidence.weight, TensorProto.FLOAT)
    offset = _added(graph, "spufix_offset", -evidence.offset, TensorProto.FLOAT)
    beta = then("Gemm", features, weight, offset, transB=1)
    taken = then("MatMul", then("Relu", beta), _added(graph, "spufix_outputs", takes, TensorProto.FLOAT))
    if head.maps:
        taken = then("Reshape", taken, _added(graph, "maps", np.array([0, -1, 1, 1]), TensorProto.INT64))
    if head.dtype != TensorProto.FLOAT:
        taken = then("Cast", taken, to=head.dtype)
    nodes.append(helper.make_node("Sub", ["", taken], [""], name=NODES))
    _follow(graph, head, nodes)
    if sound:
        _require_sound(model)


def annotate(model: ModelProto, notes: Mapping[str, str]) -> None:
    """Say in the file itself what was done to it last; what was done before is noted in the file it was made from."""
    named = {f"cuecheck.{key}": value for key, value in notes.items()}
    kept = [one for one in model.metadata_props if one.key not in named]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for key, value in named.items():
        model.metadata_props.add(key=key, value=value)


def _follow(graph: GraphProto, head: OnnxHead, nodes: list[NodeProto]) -> None:
    """Put nodes behind the head: the first input of the last is what the head gave, its output what others take."""
    place = head.product if head.addition is None else head.addition
    producer = graph.node[place]
    before = f"{nodes[-1].name}_before"
    producer.output[list(producer.output).index(head.scores)] = before
    nodes[-1].input[0] = before
    nodes[-1].output[0] = head.scores
    for at, node in enumerate(nodes, start=place + 1):
        graph.node.insert(at, node)


def _write(graph: GraphProto, node: NodeProto, place: int, value: np.ndarray, dtype: int) -> None:
    """Give a node another constant: in place where it alone uses an initializer."""
    name = node.input[place]
    users = sum(list(other.input).count(name) for other in graph.node)
    held = [tensor for tensor in graph.initializer if tensor.name == name]
    if held and users == 1 and held[0].data_type == dtype and not any(one.name == name for one in graph.output):
        held[0].CopyFrom(_tensor(name, value, dtype))
    else:
        node.input[place] = _added(graph, "weight" if place == 1 and value.ndim > 1 else "bias", value, dtype)


def _added(graph: GraphProto, name: str, value: np.ndarray, dtype: int) -> str:
    graph.initializer.append(_tensor(PREFIX + name, value, dtype))
    return PREFIX + name


def _tensor(name: str, value: np.ndarray, dtype: int) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(value, helper.tensor_dtype_to_np_dtype(dtype)), name)


def _require_sound(model: ModelProto) -> None:
    """Raises HeadError where a graph that was sound is so no longer; others are run as they are, and so are theirs."""
    if (fault := _fault(model)) is not None:
        raise HeadError(
            f"the changed graph does not pass onnx.checker: {fault}",
            remedy="export the classifier anew, with a recent operator set",
        )


def _fault(model: ModelProto) -> str | None:
    """What onnx.checker says against a graph."""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        return str(error)
    return None
