"""The last linear layer of ONNX graphs in all the ways it is written, and of torchvision's networks; changes to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import models.torchvision_ops  # noqa: F401  isort: skip  (before torchvision, see there)
import numpy as np
import onnx
import pytest
import torch
import torchvision
from onnx import NodeProto, TensorProto, helper
from safetensors.torch import load, save_file

from models import architectures
from models.classifiers import inspect_file, open_classifier
from models.classifiers.linear_head import HeadError, LinearHead
from models.classifiers.patching import with_head, with_spufix
from models.spufix import Evidence
from tests.networks import CLASSES, SIDE, pictures, save, spec

C, D = len(CLASSES), 3
GENERATOR = np.random.default_rng(7)
WEIGHT = GENERATOR.normal(size=(C, D)).astype(np.float32)
BIAS = GENERATOR.normal(size=C).astype(np.float32)
QUANTISED, SCALE = np.array([[1, -2, 3], [4, 5, -6], [7, 0, 9]], np.int8), np.array([0.1, 0.2, 0.3], np.float32)


class Graph(NamedTuple):
    """How a head is written: nodes from "means" [N, 3] (or "maps" [N, 3, s, s]) to "scores"."""

    nodes: Sequence[NodeProto]
    constants: dict[str, np.ndarray]
    weight: np.ndarray = WEIGHT
    bias: np.ndarray = BIAS
    half: bool = False

    def write(self, path: Path, batch: int | str = "n") -> Path:
        kind = TensorProto.FLOAT16 if self.half else TensorProto.FLOAT
        first = [
            helper.make_node("Cast", ["pictures"], ["maps"], to=kind),
            helper.make_node("ReduceMean", ["maps", "axes"], ["means"], keepdims=0),
        ]
        last = [helper.make_node("Cast", ["ends"], ["scores"], to=TensorProto.FLOAT, name="last")]
        sizes = [batch, 3, SIDE, SIDE]
        source = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, sizes)
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, C])
        return save(
            path, [*first, *self.nodes, *last], [source], [scores], {"axes": np.array([2, 3]), **self.constants}
        )


def node(operator: str, *names: str, **options: object) -> NodeProto:
    *inputs, output = names
    return helper.make_node(operator, inputs, [output], name=f"own {operator}", **options)


W, T, B = {"w": WEIGHT}, {"w": WEIGHT.T.copy()}, {"b": BIAS}
FILTER = {"w": WEIGHT[:, :, None, None], "b": BIAS}
GRAPHS = {
    "gemm": Graph([node("Gemm", "means", "w", "b", "ends", transB=1)], W | B),
    "gemm as it is": Graph([node("Gemm", "means", "w", "ends")], T, bias=np.zeros(C, np.float32)),
    "scaled": Graph([node("Gemm", "means", "w", "b", "ends", alpha=2.0, beta=0.5)], T | B, 2 * WEIGHT, BIAS / 2),
    "matmul": Graph([node("MatMul", "means", "w", "ends")], T, bias=np.zeros(C, np.float32)),
    "matmul and add": Graph([node("MatMul", "means", "w", "x"), node("Add", "x", "b", "ends")], T | B),
    "add, other way": Graph([node("MatMul", "means", "w", "x"), node("Add", "b", "x", "ends")], T | B),
    "flattened": Graph(
        [node("Gemm", "means", "w", "b", "x", transB=1), node("Identity", "x", "y"), node("Flatten", "y", "ends")],
        W | B,
    ),
    "convolution": Graph(
        [
            node("GlobalAveragePool", "maps", "p"),
            node("Conv", "p", "w", "b", "x"),
            node("Flatten", "x", "ends"),
        ],
        FILTER,
    ),
    "convolution, then mean": Graph(
        [
            node("Conv", "maps", "w", "b", "x", kernel_shape=[1, 1]),
            node("GlobalAveragePool", "x", "y"),
            node("Flatten", "y", "ends"),
        ],
        FILTER,
    ),
    "behind identity": Graph([node("Identity", "w", "v"), node("Gemm", "means", "v", "b", "ends", transB=1)], W | B),
    "constant": Graph(
        [
            node("Constant", "v", value=onnx.numpy_helper.from_array(WEIGHT)),
            node("Transpose", "v", "u"),
            node("MatMul", "means", "u", "x"),
            node("Add", "x", "b", "ends"),
        ],
        B,
    ),
    "quantised": Graph(
        [node("DequantizeLinear", "q", "s", "v", axis=0), node("Gemm", "means", "v", "b", "ends", transB=1)],
        {"q": QUANTISED, "s": SCALE} | B,
        QUANTISED * SCALE[:, None],
    ),
    "half": Graph(
        [node("Gemm", "means", "w", "b", "ends", transB=1)],
        {"w": WEIGHT.astype(np.float16), "b": BIAS.astype(np.float16)},
        WEIGHT.astype(np.float16),
        BIAS.astype(np.float16),
        half=True,
    ),
}


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> Graph:
    return GRAPHS[request.param]


def scores(path: Path, batch: np.ndarray) -> np.ndarray:
    inspect_file(path, spec())
    return open_classifier(path, spec()).forward(batch)


def test_features_and_head_give_the_scores(graph: Graph, tmp_path: Path) -> None:
    path, batch = graph.write(tmp_path / "network.onnx"), pictures(4)
    classifier = open_classifier(path, spec(), features=True)
    found, features = classifier.look(batch)
    assert classifier.head is not None
    tolerance = 5e-3 if graph.half else 1e-5
    np.testing.assert_allclose(classifier.head.weight, graph.weight, atol=1e-6)
    np.testing.assert_allclose(classifier.head.bias, graph.bias, atol=1e-6)
    np.testing.assert_allclose(features, batch.mean(axis=(2, 3)), atol=tolerance)
    np.testing.assert_allclose(classifier.head.scores(features), found, atol=tolerance)
    np.testing.assert_array_equal(found, scores(path, batch))


def test_spufix_takes_evidence_off_its_scores_and_leaves_the_others_alone(graph: Graph, tmp_path: Path) -> None:
    path, batch = graph.write(tmp_path / "network.onnx"), pictures(6)
    before = scores(path, batch)
    features = batch.mean(axis=(2, 3))
    weight = 40 * np.array([[1.0, -1, 0.5], [0, 2, -2]])
    evidence = Evidence(weight, (features @ weight.T).mean(axis=0), (0, 1), 0.0)
    patched = tmp_path / "patched.onnx"
    patched.write_bytes(with_spufix(path, spec(), evidence, np.array([1, 1]), {"mitigation": "spufix"}))
    model = onnx.load(patched)
    onnx.checker.check_model(model, full_check=True)
    assert {one.domain for one in model.graph.node} == {""}
    assert model.metadata_props[0].key == "cuecheck.mitigation"
    after = scores(patched, batch)
    taken = np.maximum(evidence.betas(features), 0).sum(axis=1)
    assert 0 < (taken > 0).mean() < 1
    np.testing.assert_array_equal(after[:, [0, 2]], before[:, [0, 2]])
    np.testing.assert_allclose(before[:, 1] - after[:, 1], taken, atol=0.02 if graph.half else 1e-4)
    np.testing.assert_allclose(scores(patched, batch[:1]), after[:1], atol=1e-3 if graph.half else 1e-5)


def test_a_head_takes_other_weights(graph: Graph, tmp_path: Path) -> None:
    path, batch = graph.write(tmp_path / "network.onnx"), pictures(4)
    layer = LinearHead(WEIGHT[::-1] - 1, BIAS + 2)
    patched = tmp_path / "patched.onnx"
    patched.write_bytes(with_head(path, spec(), layer, {}))
    expected = layer.scores(batch.mean(axis=(2, 3)))
    np.testing.assert_allclose(scores(patched, batch), expected, atol=0.02 if graph.half else 1e-5)
    again = open_classifier(patched, spec(), features=True)
    assert again.head is not None
    np.testing.assert_allclose(again.head.weight, layer.weight, atol=5e-3 if graph.half else 1e-6)


def test_weights_are_written_where_they_lie(tmp_path: Path) -> None:
    path = GRAPHS["gemm"].write(tmp_path / "network.onnx")
    model = onnx.load_from_string(with_head(path, spec(), LinearHead(2 * WEIGHT, BIAS), {}))
    assert [one.name for one in model.graph.initializer] == ["axes", "w", "b"]
    assert len(model.graph.node) == len(onnx.load(path).graph.node)


def test_a_fixed_batch_stays_fixed(tmp_path: Path) -> None:
    fixed = open_classifier(GRAPHS["gemm"].write(tmp_path / "fixed.onnx", batch=4), spec(), features=True)
    free = open_classifier(GRAPHS["gemm"].write(tmp_path / "free.onnx"), spec(), features=True)
    for mine, theirs in zip(fixed.look(pictures(6)), free.look(pictures(6)), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


GEMM = node("Gemm", "means", "w", "b", "x", transB=1)


@pytest.mark.parametrize(
    ("nodes", "message", "remedy"),
    [
        ([GEMM, node("Softmax", "x", "ends")], "ends in Softmax", "logits"),
        ([GEMM, node("Relu", "x", "ends")], "ends in Relu", "last linear layer"),
        ([GEMM, node("Add", "x", "x", "ends")], "ends in Add .*no bias", "last linear layer"),
        ([node("Add", "means", "b", "ends")], "ends in Add", "last linear layer"),
        ([node("MatMul", "w", "means", "ends")], "ends in MatMul .*weight is computed", "last linear layer"),
        ([node("Gemm", "means", "means", "ends", transA=1)], "weight is computed", "last linear layer"),
        ([node("Identity", "pictures", "ends")], "'pictures', which nothing in it computes", "last linear layer"),
    ],
)
def test_graphs_without_a_linear_head_are_refused_by_what_they_end_in(
    nodes: list[NodeProto], message: str, remedy: str, tmp_path: Path
) -> None:
    path = Graph(nodes, W | B).write(tmp_path / "network.onnx")
    with pytest.raises(HeadError, match=message) as refused:
        open_classifier(path, spec(), features=True)
    assert refused.value.field == "classifier"
    assert remedy in (refused.value.remedy or "")


def test_a_layer_that_does_not_give_the_scores_is_noticed(tmp_path: Path) -> None:
    nodes = [GEMM, node("Cast", "x", "ends", to=TensorProto.INT32)]  # whole numbers
    classifier = open_classifier(Graph(nodes, W | B).write(tmp_path / "network.onnx"), spec(), features=True)
    with pytest.raises(HeadError, match="differ by"):
        classifier.look(pictures(3))


SMALL = {"blocks": [1, 1, 1, 1], "widths": [4, 4, 8, 8]}


def test_networks_of_torchvision_show_their_last_linear_layer_and_take_another(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = architectures.build("small_resnet", C, SMALL).eval()
    path = tmp_path / "network.safetensors"
    save_file(network.state_dict(), path)
    declared = spec(format="safetensors", architecture="small_resnet", arguments=SMALL, preprocessing={"size": 32})
    classifier = open_classifier(path, declared, features=True)
    found, features = classifier.look(pictures(3, side=32))
    assert features.shape == (3, 8)
    assert classifier.head is not None
    np.testing.assert_allclose(classifier.head.scores(features), found, atol=1e-5)
    layer = LinearHead(-classifier.head.weight, classifier.head.bias)
    content = with_head(path, declared, layer, {})
    np.testing.assert_array_equal(load(content)["fc.weight"].numpy(), layer.weight)


def test_a_network_that_ends_in_a_convolution_and_a_relu_has_no_linear_head(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    built = torchvision.models.get_model("squeezenet1_1", weights=None, num_classes=C)
    save_file({name: one.contiguous() for name, one in built.state_dict().items()}, path)
    declared = spec(format="safetensors", architecture="squeezenet1_1", preprocessing={"size": 32})
    with pytest.raises(HeadError, match="the network ends in AdaptiveAvgPool2d"):
        open_classifier(path, declared, features=True)
