"""The last linear layer of an ONNX classifier, found by walking back from its scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from models.classifiers.linear_head import MOST_FEATURES, HeadError, LinearHead
from models.classifiers.onnx_constants import Constants, attributes
from models.classifiers.onnx_spufix import OnnxSpufix, find_spufix

PASSED = frozenset({"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout", "Cast"})
"""Between the layer and the scores these change no number."""

POOLED = frozenset({"GlobalAveragePool", "ReduceMean"})
"""These follow a 1x1 convolution as head: its mean over positions is a linear layer on the mean of its input."""

PROBABILITIES = frozenset({"Softmax", "LogSoftmax", "Sigmoid", "Exp"})
PRODUCTS = frozenset({"Gemm", "MatMul", "Conv"})


@dataclass(frozen=True)
class OnnxHead:
    """A linear layer and where it lies in the graph.

    Attributes:
        layer: weight and bias as they act.
        features: name of the tensor that goes in.
        scores: name of the tensor that comes out, bias included.
        product: place of the node that multiplies, in the graph's nodes.
        addition: place of the node that adds the bias, or None where the former does or there is none.
        dtype: `TensorProto` type of what goes in and comes out.
        maps: whether maps [N, D, h, w] go in, as into a convolution.
        spufix: what was put behind it to take evidence off the scores, if anything.
    """

    layer: LinearHead
    features: str
    scores: str
    product: int
    addition: int | None
    dtype: int
    maps: bool
    spufix: OnnxSpufix | None = None


def find_head(model: ModelProto, output: str) -> OnnxHead:
    """The linear layer behind an output.

    Args:
        model: the classifier; its weights inside.
        output: name of the output with the scores.

    Raises:
        HeadError: there is none; the message names what the graph ends in.
    """
    graph = model.graph
    places = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    name = output
    while (node := _producer(graph, places, name)).op_type in PASSED | POOLED and not node.domain:
        name = node.input[0]
    last = node
    if (spufix := find_spufix(graph, name)) is not None:
        name = spufix.before
        node = _producer(graph, places, name)
    scores, addition, offset = name, None, None
    constants = Constants(graph)
    if node.op_type == "Add" and not node.domain:
        terms = [(constants.get(one), other) for one, other in (tuple(node.input), tuple(node.input)[::-1])]
        known = [(value, other) for value, other in terms if value is not None]
        if not known:
            raise _refusal(node, "adds two computed tensors, no bias")
        addition = places[name]
        offset, name = known[0]
        node = _producer(graph, places, name)
    if node.op_type not in PRODUCTS or node.domain:
        raise _refusal(last)
    product = places[name]
    weight, bias, dtype = _layer(node, constants)
    if offset is not None:
        bias = bias + _one_each(offset, len(weight), last)
    if weight.shape[1] > MOST_FEATURES:
        raise HeadError(f"its last linear layer takes {weight.shape[1]} values; at most {MOST_FEATURES} are features")
    layer = LinearHead(np.ascontiguousarray(weight, np.float32), bias.astype(np.float32))
    maps = node.op_type == "Conv"
    if spufix is not None:
        expected = node.input[0], maps, layer.weight.shape[1], len(layer.bias)
        if (
            spufix.features,
            spufix.pooled,
            spufix.correction.evidence.weight.shape[1],
            spufix.correction.classes,
        ) != expected:
            raise _refusal(last, "which takes off what other features say")
    return OnnxHead(layer, node.input[0], scores, product, addition, dtype, maps, spufix)


def open_head(content: bytes, output: str | None) -> tuple[OnnxHead, bytes]:
    """The head of a file, and the file's bytes with what goes into the head as a further output.

    Parts of a protobuf message that follow one another are one message, so nothing but the further output is written.

    Args:
        content: of an ONNX file that `models.classifiers.inspect_file` let pass.
        output: name of the output with the scores; None where there is one output.

    Raises:
        HeadError: it has none.
    """
    model = onnx.load_model_from_string(content)
    found = find_head(model, scores_output(model, output))
    if any(one.name == found.features for one in model.graph.output):
        return found, content
    further = ModelProto(graph=GraphProto(output=[ValueInfoProto(name=found.features)]))
    return found, content + further.SerializeToString()


def scores_output(model: ModelProto, declared: str | None) -> str:
    """Name of the output with the scores: the declared one, or the first."""
    name: str = declared if declared is not None else model.graph.output[0].name
    return name


def _producer(graph: GraphProto, places: dict[str, int], name: str) -> NodeProto:
    if name not in places:
        raise HeadError(f"the graph has no linear layer before {name!r}, which nothing in it computes")
    return graph.node[places[name]]


def _refusal(node: NodeProto, why: str = "not in a linear layer") -> HeadError:
    named = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    named += f" ({node.name[:100]!r})" if node.name else ""
    remedy = {"remedy": "export the scores as they are before Softmax or Sigmoid: logits"}
    extra = remedy if node.op_type in PROBABILITIES else {}
    return HeadError(f"the classifier has no linear head: its graph ends in {named}, {why}", **extra)


def _layer(node: NodeProto, constants: Constants) -> tuple[np.ndarray, np.ndarray, int]:
    """float [C, D], float [C] and the type of a node's output."""
    stored = constants.get(node.input[1])
    if stored is None:
        raise _refusal(node, "whose weight is computed, or kept in a way that is not known")
    found = attributes(node)
    if stored.ndim != (4 if node.op_type == "Conv" else 2):
        raise _refusal(node, f"whose weight has {stored.ndim} dimensions")
    weight = as_used(node, stored.astype(np.float32))
    bias: np.ndarray = np.zeros(len(weight), np.float32)
    if node.op_type == "Gemm" and found.get("transA"):
        raise _refusal(node, "whose features are transposed")
    if node.op_type == "Conv" and not _is_linear(stored, found):
        raise _refusal(node, "a convolution over more than one pixel, or in groups")
    if len(node.input) > 2 and node.input[2]:
        offset = constants.get(node.input[2])
        if offset is None:
            raise _refusal(node, "whose bias is computed")
        bias = _one_each(offset, len(weight), node) * found.get("beta", 1.0)
    return (
        weight,
        bias,
        helper.np_dtype_to_tensor_dtype(stored.dtype) if stored.dtype.kind == "f" else TensorProto.FLOAT,
    )


def as_used(node: NodeProto, stored: np.ndarray) -> np.ndarray:
    """[C, D] of a weight as a node of `PRODUCTS` keeps it."""
    if node.op_type == "Conv":
        return stored[:, :, 0, 0]
    if node.op_type == "MatMul":
        return stored.T
    found = attributes(node)
    turned = stored if found.get("transB") else stored.T
    return turned * found.get("alpha", 1.0)


def as_kept(node: NodeProto, weight: np.ndarray) -> np.ndarray:
    """A weight [C, D] as such a node keeps it: the reverse of `as_used`."""
    if node.op_type == "Conv":
        return weight[:, :, None, None]
    if node.op_type == "MatMul":
        return weight.T
    found = attributes(node)
    scaled = weight / found.get("alpha", 1.0)
    return scaled if found.get("transB") else scaled.T


def _is_linear(weight: np.ndarray, found: dict[str, Any]) -> bool:
    steps = [*found.get("strides", [1]), *found.get("kernel_shape", [1]), found.get("group", 1)]
    quiet = found.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and not any(found.get("pads", []))
    return weight.shape[2:] == (1, 1) and set(steps) == {1} and quiet


def _one_each(offset: np.ndarray, classes: int, node: NodeProto) -> np.ndarray:
    """A bias as float32 [C]: one number for all classes counts for each."""
    if offset.size not in (1, classes):
        raise _refusal(node, f"whose bias has {offset.size} values for {classes} classes")
    return np.broadcast_to(offset.reshape(-1).astype(np.float32), (classes,)).copy()
