"""SpuFix behind a head of any writing: recognised, read back, taken away, renewed; and what only looks like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper, shape_inference

from models.classifiers import open_classifier
from models.classifiers.linear_head import HeadError, LinearHead
from models.classifiers.onnx_head import find_head
from models.classifiers.patching import with_head, with_spufix
from models.spufix import Correction, Evidence
from tests.models.test_classifier_heads import BIAS, GRAPHS, WEIGHT, Graph, graph
from tests.networks import pictures, spec

__all__ = ["graph"]

NOTES = {"mitigation": "spufix"}
FIRST = Evidence(40 * np.array([[1.0, -1, 0.5], [0, 2, -2]]), np.array([10.0, 1]), (0, 1), 0.0)
SECOND = Evidence(30 * np.array([[0.5, 0.5, -1.5]]), np.array([-7.0]), (0,), 0.0)
ONE, TWO = np.array([1]), np.array([2])
LAYER = LinearHead(WEIGHT[::-1] - 1, BIAS + 2)


def fixed(source: Path, evidence: Evidence, outputs: np.ndarray, name: str = "fixed.onnx") -> Path:
    target = source.with_name(name)
    target.write_bytes(with_spufix(source, spec(), evidence, outputs, NOTES))
    return target


def scores(path: Path) -> np.ndarray:
    return open_classifier(path, spec()).forward(pictures(6))


def test_its_head_and_what_is_taken_off_are_read_back(graph: Graph, tmp_path: Path) -> None:
    path = fixed(graph.write(tmp_path / "network.onnx"), FIRST, np.array([1, 2]))
    classifier = open_classifier(path, spec(), features=True)
    found, features = classifier.look(pictures(6))  # which reckons the scores from them
    assert classifier.head is not None
    assert classifier.spufix is not None
    np.testing.assert_allclose(classifier.head.weight, graph.weight, atol=1e-6)
    np.testing.assert_array_equal(classifier.spufix.outputs, [1, 2])
    np.testing.assert_allclose(classifier.spufix.evidence.weight, FIRST.weight)
    np.testing.assert_allclose(classifier.spufix.evidence.offset, FIRST.offset)
    np.testing.assert_array_equal(found, scores(path))
    taken = classifier.spufix.taken(features)
    assert (taken[:, 1:].max(axis=0) > 1).all()
    np.testing.assert_allclose(classifier.head.scores(features) - taken, found, atol=0.03 if graph.half else 1e-4)


def test_a_head_is_fitted_anew_as_if_there_had_been_no_spufix(graph: Graph, tmp_path: Path) -> None:
    source = graph.write(tmp_path / "network.onnx")
    patched = fixed(source, FIRST, np.array([1, 2]))
    notes = {"mitigation": "head-refit"}
    assert with_head(patched, spec(), LAYER, notes) == with_head(source, spec(), LAYER, notes)


def test_spufix_of_the_same_scores_takes_the_place_of_the_former(graph: Graph, tmp_path: Path) -> None:
    source = graph.write(tmp_path / "network.onnx")
    twice = fixed(fixed(source, FIRST, np.array([1, 1])), SECOND, ONE, "twice.onnx")
    assert twice.read_bytes() == fixed(source, SECOND, ONE, "once.onnx").read_bytes()
    same = fixed(fixed(source, FIRST, np.array([1, 2])), FIRST, np.array([1, 2]), "same.onnx")
    assert same.read_bytes() == fixed(source, FIRST, np.array([1, 2]), "once.onnx").read_bytes(), "not taken off twice"


def test_spufix_of_other_scores_is_added(tmp_path: Path) -> None:
    source = GRAPHS["gemm"].write(tmp_path / "network.onnx")
    both = scores(fixed(fixed(source, FIRST, np.array([1, 2])), SECOND, TWO, "both.onnx"))
    plain, first, second = (
        scores(source),
        scores(fixed(source, FIRST, np.array([1, 2]))),
        scores(fixed(source, SECOND, TWO)),
    )
    np.testing.assert_array_equal(both[:, 0], plain[:, 0])
    np.testing.assert_allclose(both[:, 1], first[:, 1], atol=1e-5)
    np.testing.assert_allclose(both[:, 2], second[:, 2], atol=1e-5)
    assert np.abs(first[:, 1] - plain[:, 1]).max() > 1
    assert np.abs(second[:, 2] - first[:, 2]).max() > 1


def test_renewed_is_the_newer_for_its_scores_and_the_former_for_others() -> None:
    former, newer = Correction(FIRST, np.array([1, 2]), 3), Correction(SECOND, TWO, 3)
    features = np.random.default_rng(0).random((20, 3))
    both = former.renewed(newer)
    expected = np.stack([np.zeros(20), former.taken(features)[:, 1], newer.taken(features)[:, 2]], axis=1)
    np.testing.assert_allclose(both.taken(features), expected)
    assert (expected[:, 1:].max(axis=0) > 0).all()


def test_a_refitted_head_takes_spufix_and_that_can_be_taken_away(tmp_path: Path) -> None:
    refitted = tmp_path / "refitted.onnx"
    refitted.write_bytes(with_head(GRAPHS["matmul"].write(tmp_path / "network.onnx"), spec(), LAYER, {}))
    again = with_head(fixed(refitted, FIRST, np.array([0, 1])), spec(), LAYER, NOTES)
    assert again == with_head(refitted, spec(), LAYER, NOTES)


def test_a_file_that_another_tool_wrote_anew_is_still_recognised(tmp_path: Path) -> None:
    """With the shapes of everything between, which change with the evidence."""
    patched = fixed(GRAPHS["gemm"].write(tmp_path / "network.onnx"), FIRST, np.array([1, 2]))
    inferred = tmp_path / "inferred.onnx"
    onnx.save(shape_inference.infer_shapes(onnx.load(patched)), inferred)
    twice = fixed(inferred, SECOND, np.array([1]), "twice.onnx")
    onnx.checker.check_model(onnx.load(twice), full_check=True)
    third = fixed(twice, SECOND, TWO, "third.onnx")
    onnx.checker.check_model(onnx.load(third), full_check=True)
    np.testing.assert_allclose(scores(third)[:, 1:], scores(fixed(fixed(patched, SECOND, ONE), SECOND, TWO))[:, 1:])


def node(model: ModelProto, operator: str) -> NodeProto:
    return next(one for one in model.graph.node if one.op_type == operator and one.name.startswith("cuecheck_"))


def renamed(model: ModelProto) -> None:
    for one in model.graph.node:
        one.name = one.name.replace("cuecheck_", "own_")


def turned(model: ModelProto) -> None:
    last = node(model, "Sub")
    last.input[:] = list(last.input)[::-1]


def scaled(model: ModelProto) -> None:
    node(model, "Gemm").attribute.append(helper.make_attribute("alpha", 2.0))


def other_function(model: ModelProto) -> None:
    node(model, "Relu").op_type = "Abs"


def other_features(model: ModelProto) -> None:
    model.graph.node.insert(2, helper.make_node("Abs", ["means"], ["others"]))
    node(model, "Gemm").input[0] = "others"


def several_scores(model: ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "cuecheck_spufix_outputs":
            tensor.CopyFrom(numpy_helper.from_array(np.float32([[0, 1, 1], [0, 0, 1]]), tensor.name))


def more_taken(model: ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "cuecheck_spufix_outputs":
            tensor.CopyFrom(numpy_helper.from_array(np.float32([[0, 2, 0], [0, 0, 1]]), tensor.name))


def used_elsewhere(model: ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info(node(model, "Relu").output[0], 1, None))


@pytest.mark.parametrize(
    "change", [renamed, turned, scaled, other_function, other_features, several_scores, more_taken, used_elsewhere]
)
def test_a_graph_that_only_looks_like_it_is_refused(change: Callable[[ModelProto], None], tmp_path: Path) -> None:
    patched = fixed(GRAPHS["gemm"].write(tmp_path / "network.onnx"), FIRST, np.array([1, 2]))
    model = onnx.load(patched)
    assert find_head(model, "scores").spufix is not None
    change(model)
    with pytest.raises(HeadError, match="its graph ends in Sub"):
        find_head(model, "scores")


def test_constants_that_do_not_give_the_scores_are_noticed_on_every_batch(tmp_path: Path) -> None:
    """An operator that does something else than its name says cannot be told from the graph."""
    patched = fixed(GRAPHS["gemm"].write(tmp_path / "network.onnx"), FIRST, np.array([1, 2]))
    classifier = open_classifier(patched, spec(), features=True)
    assert classifier.spufix is not None
    classifier.spufix.evidence.weight[0] += 5
    with pytest.raises(HeadError, match="differ by"):
        classifier.look(pictures(4))
