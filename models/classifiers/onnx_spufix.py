"""SpuFix behind a linear head, recognised and taken away again; `models.classifiers.onnx_patch` writes it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto

from models.classifiers.onnx_constants import Constants, attributes
from models.spufix import Correction, Evidence

Array = NDArray[np.generic]

PREFIX = "cuecheck_"
"""Of the names of all nodes, tensors and constants that are written into a file."""

NODES = f"{PREFIX}spufix"
"""Of the names of the nodes among them that are SpuFix's."""

PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}


@dataclass(frozen=True)
class OnnxSpufix:
    """Where it lies in the graph.

    Attributes:
        correction: what is taken off which scores.
        features: name of the tensor whose evidence that is.
        pooled: whether these are maps, of which the mean over positions is taken first.
        before, after: names of the scores as the head gives them, and of what is left of them.
        nodes: places of its nodes in the graph's nodes.
    """

    correction: Correction
    features: str
    pooled: bool
    before: str
    after: str
    nodes: frozenset[int]


def find_spufix(graph: GraphProto, output: str) -> OnnxSpufix | None:
    """The nodes of SpuFix that give a tensor; None where anything of them is not as it was written.

    Names alone would let a graph pass that was changed behind them, and structure alone one that somebody else made and
    that must stay as it is: both are asked for, and that nothing else in the graph takes what lies between the nodes.
    """
    places = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    uses = Counter(name for node in graph.node for name in node.input) + Counter(one.name for one in graph.output)
    constants = Constants(graph)
    found: list[NodeProto] = []

    def step(name: str, operator: str) -> NodeProto | None:
        node = graph.node[places[name]] if name in places else None
        if node is None or node.domain or node.op_type != operator or not node.name.startswith(NODES):
            return None
        if found and uses[name] != 1:
            return None
        found.append(node)
        return node

    def past(name: str, *operators: str) -> str:
        """Through each of these that is there, in this order."""
        for operator in operators:
            if (node := step(name, operator)) is not None:
                name = node.input[0]
        return name

    if (last := step(output, "Sub")) is None or uses[last.input[0]] != 1:
        return None
    if (spread := step(past(last.input[1], "Cast", "Reshape"), "MatMul")) is None:
        return None
    if (positive := step(spread.input[0], "Relu")) is None or (beta := step(positive.input[0], "Gemm")) is None:
        return None
    if {**PLAIN, "transB": 0, **attributes(beta)} != PLAIN or len(beta.input) != 3:
        return None
    features = past(beta.input[0], "Cast", "Reshape", "GlobalAveragePool")
    correction = _correction(*map(constants.get, (beta.input[1], beta.input[2], spread.input[1])))
    if correction is None:
        return None
    pooled = found[-1].op_type == "GlobalAveragePool"
    nodes = frozenset(places[node.output[0]] for node in found)
    return OnnxSpufix(correction, features, pooled, last.input[0], output, nodes)


def remove_spufix(graph: GraphProto, spufix: OnnxSpufix) -> None:
    """Take its nodes and constants away, so that the graph is what it was before they were written."""
    gone = [graph.node[place] for place in sorted(spufix.nodes)]
    tensors = {name for node in gone for name in (*node.input, *node.output)} - {spufix.features, spufix.after}
    for place in sorted(spufix.nodes, reverse=True):
        del graph.node[place]
    for node in graph.node:
        if spufix.before in node.output:
            node.output[list(node.output).index(spufix.before)] = spufix.after
    tensors -= {name for node in graph.node for name in node.input}
    for fields in (graph.initializer, graph.value_info):
        for place in reversed(range(len(fields))):
            if fields[place].name in tensors:
                del fields[place]


def _correction(weight: Array | None, offset: Array | None, takes: Array | None) -> Correction | None:
    """What constants of these shapes and values say: [L, D], [L] and [L, C], of whose rows each names one score."""
    if weight is None or offset is None or takes is None:
        return None
    if weight.ndim != 2 or takes.ndim != 2 or offset.shape != (len(weight),) or len(takes) != len(weight):
        return None
    outputs = takes.argmax(axis=1)
    if ((takes != 0).sum(axis=1) != 1).any() or (takes.max(axis=1) != 1).any():
        return None
    evidence = Evidence(weight.astype(np.float64), -offset.astype(np.float64), tuple(range(len(weight))), 0.0)
    return Correction(evidence, outputs, takes.shape[1])
