"""Architectures by name: what is built, what is refused, and that trunk, pooling and head make up the network."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch

from models import torchvision_ops
from models.architectures import SmallResNet, build, head, names, penultimate, trunk
from models.errors import ArchitectureError
from models.families import FAMILIES, family_of
from tests.conftest import ROOT

TINY = {"blocks": [1, 1, 2, 1], "widths": [8, 12, 16, 24], "strides": [1, 2, 1, 2], "stem_stride": 2}


@pytest.fixture(scope="module")
def tiny() -> SmallResNet:
    torch.manual_seed(0)
    network = build("small_resnet", 5, TINY).eval()
    assert isinstance(network, SmallResNet)
    return network


@pytest.mark.parametrize(
    "name", ["small_resnet", "resnet18", "densenet121", "mobilenet_v2", "shufflenet_v2_x0_5"]
)  # one of every family
def test_trunk_pooling_and_head_are_the_whole_network(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, 4, TINY if name == "small_resnet" else None).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        maps = trunk(name, network)(images)
        torch.testing.assert_close(head(name, network)(penultimate(maps)), network(images))
    assert maps.min() >= 0
    assert f"{family_of(name).head}.weight" in network.state_dict()
    assert [family for family in FAMILIES if any(key.startswith(family.sign) for key in network.state_dict())] == [
        family_of(name)
    ]


def test_small_resnet_has_the_sides_and_widths_asked_for(tiny: SmallResNet) -> None:
    with torch.inference_mode():
        maps = trunk("small_resnet", tiny)(torch.randn(1, 3, 96, 96))
    assert maps.shape == (1, 24, 12, 12)
    assert len(tiny.layer3) == 2


def test_small_resnet_has_the_plain_torchvision_keys(tiny: SmallResNet) -> None:
    keys = set(tiny.state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer4.0.bn2.bias", "fc.weight"} <= keys
    assert all(key.split(".")[0] in {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"} for key in keys)


def test_every_network_of_the_families_is_known_and_nothing_else() -> None:
    assert {"resnet18", "resnet152", "wide_resnet50_2", "resnext50_32x4d", "small_resnet"} <= set(names())
    assert {"densenet161", "mobilenet_v2", "shufflenet_v2_x1_0"} <= set(names())
    assert not {"vgg11", "mobilenet_v3_small", "deeplabv3_resnet50", "fcn_resnet50", "r3d_18"} & set(names())
    for name in names():
        assert family_of(name) in FAMILIES
    with pytest.raises(KeyError):
        family_of("vgg11")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vgg11", None),
        ("resnet18", {"weights": "DEFAULT"}),
        ("resnet18", {"replace_stride_with_dilation": [True, False, False]}),
        ("resnet18", {"depth": 3}),
        ("small_resnet", {"depth": 3}),
        ("small_resnet", {"widths": [8, 8, 8]}),
        ("small_resnet", {"strides": [1, 0, 1, 1]}),
        ("small_resnet", {"stem_stride": 1.5}),
        ("small_resnet", {"blocks": [1, 1, 10**9, 1]}),  # would be built, one by one, before anything is compared
        ("small_resnet", {"widths": [8, 8, 8, 10**15]}),
        ("small_resnet", {"strides": [1, 1, 1, 10**30]}),
        ("small_resnet", {"widths": [True, 8, 8, 8]}),
        ("resnet50", {"width_per_group": 10**15}),
        ("resnet50", {"width_per_group": -5}),
        ("resnet50", {"groups": True}),
        ("densenet121", {"groups": 2}),
    ],
)
def test_unknown_names_and_arguments_are_refused_by_name(name: str, arguments: dict[str, object] | None) -> None:
    with pytest.raises(ArchitectureError) as caught:
        build(name, 10, arguments)
    assert name in str(caught.value)


@pytest.mark.parametrize("classes", [0, -1, 2.5])
def test_a_network_needs_classes(classes: object) -> None:
    with pytest.raises(ArchitectureError, match="num_classes"):
        build("small_resnet", classes)  # type: ignore[arg-type]


def test_plain_nms_keeps_the_best_of_overlapping_boxes() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 10.5]]).float()
    scores = torch.tensor([0.8, 0.9, 0.1, 0.7])
    assert torchvision_ops.plain_nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert torchvision_ops.plain_nms(boxes, scores, 0.99).tolist() == [1, 0, 3, 2]
    assert torchvision_ops.plain_nms(boxes[:0], scores[:0], 0.5).tolist() == []


def test_torchvision_nms_works_whether_or_not_it_was_replaced() -> None:
    from torchvision.ops import batched_nms

    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10]]).float()
    kept = batched_nms(boxes, torch.tensor([0.8, 0.9, 0.7]), torch.tensor([0, 0, 1]), 0.5)
    assert kept.tolist() == [1, 2]
    reason = torchvision_ops.REPLACED_BECAUSE
    assert reason is None or torch.__version__ in reason


def test_torch_s_compiler_is_left_out_until_it_is_asked_for() -> None:
    program = """
        import sys
        from models import torchvision_ops
        assert not {"torch._dynamo", "sympy"} & set(sys.modules)
        assert torchvision_ops.is_compile_supported("cpu") in (True, False)
        assert sys.modules["torch._dynamo"].__file__
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, cwd=ROOT)
