"""Values in an ONNX graph that are known without running it."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

MOST_STEPS = 16
"""Nodes between a weight as it is kept and as it is used."""


class Constants:
    """Looks constants up: initializers, Constant nodes, and what Identity, Cast, Transpose, Reshape or DequantizeLinear
    make of them."""

    def __init__(self, graph: GraphProto) -> None:
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output if name}

    def get(self, name: str, steps: int = MOST_STEPS) -> np.ndarray | None:
        """The value of a tensor; None where it is computed from the input, or in a way that is not known here."""
        if name in self._initializers:
            return numpy_helper.to_array(self._initializers[name])
        node = self._producers.get(name)
        if node is None or not steps:
            return None
        if node.op_type == "Constant":
            return _constant(node)
        if node.op_type not in _MADE:
            return None
        inputs = [self.get(one, steps - 1) for one in node.input if one]
        if any(value is None for value in inputs):
            return None
        return _MADE[node.op_type](node, [value for value in inputs if value is not None])


def attributes(node: NodeProto) -> dict[str, Any]:
    """The attributes of a node as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _constant(node: NodeProto) -> np.ndarray | None:
    value = attributes(node)
    if "value" in value:
        return numpy_helper.to_array(value["value"])
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32)):
        if name in value:
            return np.array(value[name], dtype)
    for name in ("value_int", "value_ints"):
        if name in value:
            return np.array(value[name], np.int64)
    return None


def _cast(node: NodeProto, inputs: list[np.ndarray]) -> np.ndarray | None:
    return inputs[0].astype(helper.tensor_dtype_to_np_dtype(attributes(node)["to"]))


def _transpose(node: NodeProto, inputs: list[np.ndarray]) -> np.ndarray | None:
    order = attributes(node).get("perm")
    return np.transpose(inputs[0], order)


def _reshape(node: NodeProto, inputs: list[np.ndarray]) -> np.ndarray | None:
    return inputs[0].reshape([int(side) for side in inputs[1]]) if (inputs[1] != 0).all() else None


def _dequantised(node: NodeProto, inputs: list[np.ndarray]) -> np.ndarray | None:
    """(x - zero point) * scale, for the whole tensor or along one axis; not in blocks."""
    value, scale, *zero = inputs
    found = attributes(node)
    if found.get("block_size"):
        return None
    shape = [1] * value.ndim
    if scale.size > 1:
        shape[found.get("axis", 1)] = scale.size
    centred = value.astype(np.float32) - (zero[0].astype(np.float32).reshape(shape) if zero else 0)
    return centred * scale.astype(np.float32).reshape(shape)


_MADE = {
    "Identity": lambda node, inputs: inputs[0],
    "Cast": _cast,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "DequantizeLinear": _dequantised,
}
