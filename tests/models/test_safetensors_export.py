"""A torchvision network exported to ONNX so that SpuFix can stand behind it: the same classifier, or refused."""

from __future__ import annotations

from pathlib import Path

import models.torchvision_ops  # noqa: F401  isort: skip  (before torchvision, see there)
import numpy as np
import onnx
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from models.classifiers import inspect_file, open_classifier, safetensors_export
from models.classifiers.linear_head import HeadError
from models.classifiers.onnx_head import find_head
from models.classifiers.safetensors import SafetensorsClassifier
from models.classifiers.safetensors_export import export, require_same
from models.classifiers.spec import ClassifierSpec
from models.errors import ClassifierError
from tests.conftest import ROOT
from tests.networks import CLASSES, pictures, spec

SIDE = 32
PREPROCESSING = {"size": SIDE, "resize": 40, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "colour": "BGR"}
DECLARED = spec(format="safetensors", architecture="shufflenet_v2_x0_5", preprocessing=PREPROCESSING, name="shuffle")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that tells pictures apart, which one of random weights hardly does in evaluation mode."""
    path = tmp_path_factory.mktemp("networks") / "shuffle.safetensors"
    torch.manual_seed(0)
    network = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=len(CLASSES))
    with torch.no_grad():
        for _ in range(20):  # batch normalisation gets to know such pictures
            network(torch.randn(16, 3, SIDE, SIDE))
    save_file({name: one.contiguous() for name, one in network.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def exported(file: Path) -> onnx.ModelProto:
    return export(file, DECLARED, pictures(5, SIDE))


def opened(file: Path, declared: ClassifierSpec = DECLARED) -> SafetensorsClassifier:
    found = open_classifier(file, declared, features=True)
    assert isinstance(found, SafetensorsClassifier)
    return found


def test_the_declaration_of_an_export_is_the_same_but_for_its_format() -> None:
    told = DECLARED.exported()
    assert (told.format, told.architecture, told.arguments) == ("onnx", None, None)
    assert told.preprocessing == DECLARED.preprocessing
    assert (told.classes, told.name) == (DECLARED.classes, "shuffle")


def test_an_export_gives_the_same_scores_for_any_number_of_pictures(
    file: Path, exported: onnx.ModelProto, tmp_path: Path
) -> None:
    path = tmp_path / "exported.onnx"
    onnx.save(exported, path)
    onnx.checker.check_model(exported, full_check=True)
    inspect_file(path, DECLARED.exported())
    graph, network = open_classifier(path, DECLARED.exported(), features=True), opened(file)
    assert graph.fixed_batch is None
    for count in (1, 2, 7):
        for theirs, ours in zip(
            graph.look(pictures(count, SIDE, 3)), network.look(pictures(count, SIDE, 3)), strict=True
        ):
            assert np.ptp(ours) > 0.05
            np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_an_export_says_nothing_of_the_machine_it_was_made_on(exported: onnx.ModelProto) -> None:
    content = exported.SerializeToString()
    assert str(ROOT).encode() not in content
    assert b"site-packages" not in content


def test_an_export_that_gives_other_scores_is_refused(file: Path, exported: onnx.ModelProto) -> None:
    network, batch = opened(file), pictures(4, SIDE)
    require_same(network, exported, DECLARED, batch)
    head = next(one for one in network.network.modules() if isinstance(one, nn.Linear))
    with torch.no_grad():
        head.bias[1] += 0.1
        with pytest.raises(ClassifierError, match="gives other scores than the network: on 4 pictures") as refused:
            require_same(moved(network), exported, DECLARED, batch)
    assert "export the classifier to ONNX yourself" in (refused.value.remedy or "")


def test_an_export_with_another_head_is_refused(file: Path, exported: onnx.ModelProto) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(exported)
    head = find_head(other, "logits")
    (first,) = (one for one in other.graph.node if head.features in one.output)
    doubled = onnx.helper.make_node("Add", [head.features, head.features], ["doubled"])
    other.graph.node[head.product].input[0] = "doubled"
    other.graph.node.insert(list(other.graph.node).index(first) + 1, doubled)
    with pytest.raises(HeadError, match="another last linear layer"):
        require_same(opened(file), other, DECLARED, pictures(3, SIDE))


def moved(network: SafetensorsClassifier) -> SafetensorsClassifier:
    """The same after its weights were changed: its head is found anew."""
    network.find_head()
    return network


def test_a_network_too_large_for_one_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_export, "MOST_BYTES", 10**6)
    with pytest.raises(ClassifierError, match="as float32; an ONNX file ends below 1000000") as refused:
        export(file, DECLARED, pictures(1, SIDE))
    assert "float16" in (refused.value.remedy or "")
