"""Weights tell their network, fit it or are refused with the tensor at fault, and its maps are known beforehand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models.errors import ArchitectureError, CheckpointError
from models.network import Network, fit_network, infer_network, maps_shape
from models.preprocessing import Preprocessing
from tests.models import checkpoint_files as files
from tests.models.conftest import ARGUMENTS

SMALL: dict[str, Any] = {"widths": (4, 4, 8, 8), "blocks": (1, 1, 1, 1)}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return files.network("small_resnet", **SMALL)


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "network",
    [
        Network("resnet18", {}),
        Network("resnet50", {}),
        Network("wide_resnet50_2", {}),
        Network("resnext50_32x4d", {}),
        Network("resnet50", {"groups": 2, "width_per_group": 32}),
        Network("densenet161", {}),
        Network("mobilenet_v2", {}),
        Network("shufflenet_v2_x1_5", {}),
    ],
    ids=str,
)
def test_the_weights_tell_their_network(network: Network) -> None:
    with torch.device("meta"):
        state = files.network(network.architecture, **network.arguments)
    assert infer_network(state) == network
    assert fit_network(state, network, files.CLASSES).keys() == state.keys()


@pytest.mark.parametrize("middle", [None, torch.ones(3), torch.ones(0, 64, 3, 3), torch.ones(64, 0, 3, 3)], ids=str)
def test_weights_without_a_sound_middle_of_their_blocks_fit_no_network(middle: Tensor | None) -> None:
    with torch.device("meta"):
        state = files.network("resnet50")
    state.pop("layer1.0.conv2.weight")
    state |= {} if middle is None else {"layer1.0.conv2.weight": middle}
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv2\.weight"):
        fit_network(state, infer_network(state), files.CLASSES)


def test_weights_of_a_family_that_are_none_of_its_networks_are_refused() -> None:
    with torch.device("meta"):
        state = files.network("shufflenet_v2_x0_5")
    state["conv5.0.weight"] = torch.empty(7, 7, device="meta")
    with pytest.raises(CheckpointError, match="no ShuffleNetV2 of torchvision"):
        infer_network(state)


def test_a_network_that_does_not_fit_is_refused(state: dict[str, Tensor]) -> None:
    declared = Network("small_resnet", SMALL)
    assert same(fit_network(state, declared, files.CLASSES), state)
    with pytest.raises(CheckpointError, match="no ResNet of torchvision"):
        infer_network(state)
    with pytest.raises(CheckpointError, match=r"7 outputs and 5 classes"):
        fit_network(state, declared, 5)
    with pytest.raises(CheckpointError, match="does not fit 'resnet18'"):
        fit_network(state, Network("resnet18", {}), files.CLASSES)
    with pytest.raises(ArchitectureError, match="blocks"):
        fit_network(state, Network("small_resnet", {"blocks": [10**9] * 4}), files.CLASSES)


def test_counters_that_old_files_lack_are_put_in(state: dict[str, Tensor]) -> None:
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert same(fit_network(old, Network("small_resnet", SMALL), files.CLASSES), state)


def test_the_shape_of_maps_is_known_without_computing_them() -> None:
    resnet = Network("resnet50", {})
    assert maps_shape(resnet, 1000, Preprocessing(size=224)) == (2048, 7, 7)
    assert maps_shape(Network("small_resnet", ARGUMENTS), 5, Preprocessing(size=96)) == (24, 12, 12)
    with pytest.raises(CheckpointError, match="1 x 1"):
        maps_shape(resnet, 1000, Preprocessing(size=32))
    with pytest.raises(CheckpointError, match="numbers a picture"):
        maps_shape(Network("small_resnet", {"strides": [1] * 4}), 10, Preprocessing(size=2048))
    wide_at_first = {"widths": [512, 8, 8, 8], "strides": [1, 8, 1, 1]}
    with pytest.raises(CheckpointError, match=r"512 x 2048 x 2048 in one of the layers"):
        maps_shape(Network("small_resnet", wide_at_first), 10, Preprocessing(size=2048))
    assert maps_shape(resnet, 1000, Preprocessing(size=2048)) == (2048, 64, 64)
