"""Small ONNX files for tests: honest ones, odd ones and hostile ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from models.classifiers.spec import ClassifierSpec

SIDE = 16
CLASSES = ("cat", "dog", "bird")
WEIGHTS = np.random.default_rng(1).normal(size=(3, len(CLASSES))).astype(np.float32)
"""float32 [channels, classes]: scores are the mean of each channel times these."""


def spec(**changes: object) -> ClassifierSpec:
    """What `pooled` is declared as; `preprocessing` may be given as a dict of its fields."""
    fields: dict[str, object] = {
        "format": "onnx",
        "classes": CLASSES,
        "preprocessing": {"size": SIDE},
        **changes,
    }
    return ClassifierSpec.model_validate(fields)


def scores_of(tensor: np.ndarray, layout: str = "NCHW") -> np.ndarray:
    """What `pooled` gives for an input tensor."""
    means = tensor.astype(np.float64).mean(axis=(2, 3) if layout == "NCHW" else (1, 2))
    return means @ WEIGHTS.astype(np.float64)


def pooled(
    path: Path,
    *,
    batch: int | str = "n",
    sides: tuple[int | str, int | str] = (SIDE, SIDE),
    channels: int = 3,
    layout: str = "NCHW",
    dtype: int = TensorProto.FLOAT,
    weights: np.ndarray = WEIGHTS,
    scores: int | None = len(CLASSES),
    after: Sequence[NodeProto] = (),
) -> Path:
    """A linear classifier on channel means; `after` turns its "linear" scores into the output "scores".

    scores: how many scores the file says it gives; None leaves that open.
    """
    shape = [batch, channels, *sides] if layout == "NCHW" else [batch, *sides, channels]
    nodes = [
        helper.make_node("Cast", ["pictures"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["linear"]),
        *(after or [helper.make_node("Identity", ["linear"], ["scores"])]),
    ]
    constants = {"axes": np.array([2, 3] if layout == "NCHW" else [1, 2]), "weights": weights}
    return save(
        path,
        nodes,
        [helper.make_tensor_value_info("pictures", dtype, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, scores])],
        constants,
    )


def save(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: dict[str, np.ndarray] | None = None,
    domains: Sequence[str] = ("",),
) -> Path:
    """Write a graph as an ONNX file."""
    weights = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "network", inputs, outputs, weights)
    versions = [helper.make_opsetid(domain, 1 if domain else 20) for domain in domains]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=10), path)
    return path


def endless(path: Path, trips: int = 2**62, **options: Any) -> Path:
    """Goes round in a loop for about an hour of every forward, or `trips` times; options as for `pooled`."""
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, None)
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    go_on = helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_out"]),
            helper.make_node("Sin", ["value"], ["value_out"]),
        ],
        "body",
        [count, go_on, value],
        [
            helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_out", TensorProto.FLOAT, None),
        ],
    )
    count_of_trips = helper.make_tensor("trips", TensorProto.INT64, [], [trips])
    return pooled(
        path,
        after=[
            helper.make_node("Constant", [], ["trips"], value=count_of_trips),
            helper.make_node("Loop", ["trips", "", "linear"], ["scores"], body=body),
        ],
        **options,
    )


def hungry(path: Path, elements: int = 2**34) -> Path:
    """Asks for `elements` floats in every forward, in a way that cannot be computed beforehand."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [elements, 1])
    return pooled(
        path,
        after=[
            helper.make_node("Constant", [], ["shape"], value=shape),
            helper.make_node("ReduceMax", ["linear"], ["largest"], keepdims=0),
            helper.make_node("Expand", ["largest", "shape"], ["enormous"]),
            helper.make_node("ReduceMean", ["enormous"], ["mean"], keepdims=0),
            helper.make_node("Add", ["linear", "mean"], ["scores"]),
        ],
    )


def undefined(path: Path) -> Path:
    """Scores that are not numbers for dark pictures: the logarithm of a negative one."""
    weights = np.array([[1.0, 2.0, 3.0]] * 3, np.float32)
    less = helper.make_tensor("less", TensorProto.FLOAT, [], [0.5])
    return pooled(
        path,
        weights=weights,
        after=[
            helper.make_node("Constant", [], ["less"], value=less),
            helper.make_node("Sub", ["linear", "less"], ["shifted"]),
            helper.make_node("Log", ["shifted"], ["scores"]),
        ],
    )


def external(path: Path, location: str) -> Path:
    """Keeps its weights in another file, at `location`."""
    pooled(path)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "weights":
            tensor.data_location = TensorProto.EXTERNAL
            tensor.ClearField("raw_data")
            tensor.external_data.add(key="location", value=location)
            tensor.external_data.add(key="length", value=str(WEIGHTS.nbytes))
    path.write_bytes(model.SerializeToString())
    return path


def pictures(count: int, side: int = SIDE, seed: int = 0) -> np.ndarray:
    """float32 [count, 3, side, side] of noise in [0, 1]."""
    return np.random.default_rng(seed).random((count, 3, side, side), np.float32)
