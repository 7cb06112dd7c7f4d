"""Safetensors classifiers: any torchvision architecture by name, and weights that must fit it to the last tensor."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import models.torchvision_ops  # noqa: F401  isort: skip  (before torchvision, see there)
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from models import architectures
from models.classifiers import inspect_file, open_classifier
from models.classifiers.safetensors import names
from models.classifiers.signatures import recognise
from models.classifiers.spec import ClassifierSpec
from models.errors import ClassifierError
from models.geometry import normalise
from tests.networks import CLASSES, pictures, spec

SMALL = {"blocks": [1, 1, 1, 1], "widths": [4, 4, 8, 8]}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def declared(architecture: str = "small_resnet", size: int = 32, **changes: object) -> ClassifierSpec:
    if architecture == "small_resnet":
        changes.setdefault("arguments", SMALL)
    preprocessing = {"size": size, "mean": MEAN, "std": STD}
    return spec(**{"format": "safetensors", "architecture": architecture, "preprocessing": preprocessing, **changes})


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return architectures.build("small_resnet", len(CLASSES), SMALL).eval()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "network.safetensors"


def write(file: Path, state: dict[str, Tensor]) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    return file


@torch.inference_mode()
def expected(network: nn.Module, batch: np.ndarray, spec: ClassifierSpec) -> np.ndarray:
    return np.asarray(network(normalise(torch.from_numpy(batch), spec.preprocessing)).numpy())


def test_scores_are_the_networks(file: Path, network: nn.Module) -> None:
    classifier = open_classifier(write(file, network.state_dict()), declared())
    batch = pictures(3, side=32)
    np.testing.assert_allclose(classifier.forward(batch), expected(network, batch, declared()), atol=1e-4)
    assert classifier.provider == "torch-cpu"


@pytest.mark.parametrize(("architecture", "size"), [("squeezenet1_1", 32), ("regnet_y_400mf", 32), ("resnet18", 32)])
def test_any_classification_network_of_torchvision_will_do(file: Path, architecture: str, size: int) -> None:
    assert architecture in names()
    torch.manual_seed(0)
    network = torchvision.models.get_model(architecture, weights=None, num_classes=3).eval()
    classifier = open_classifier(write(file, network.state_dict()), declared(architecture, size))
    batch = pictures(2, side=size)
    np.testing.assert_allclose(
        classifier.forward(batch), expected(network, batch, declared(architecture, size)), atol=1e-4
    )


def test_half_precision_weights_and_missing_counters_are_taken(file: Path, network: nn.Module) -> None:
    state = {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    classifier = open_classifier(write(file, state), declared())
    batch = pictures(2, side=32)
    assert np.isfinite(classifier.forward(batch)).all()
    np.testing.assert_allclose(classifier.forward(batch), expected(network, batch, declared()), atol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {**state, "extra": torch.zeros(1)}, "has extra, which the network lacks"),
        (lambda state: {k: v for k, v in state.items() if k != "fc.bias"}, "lacks fc.bias"),
        (
            lambda state: {**state, "fc.bias": torch.zeros(9)},
            r"float32\[9\], the network wants float32\[3\]",
        ),
        (lambda state: {**state, "fc.bias": torch.zeros(3, dtype=torch.int8)}, r"has fc.bias as int8\[3\]"),
        (lambda state: {f"module.{k}": v for k, v in state.items()}, "and [0-9]+ more"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    file: Path, network: nn.Module, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    write(file, change(network.state_dict()))
    with pytest.raises(ClassifierError, match=f"does not fit 'small_resnet' with 3 classes.*{message}"):
        open_classifier(file, declared())


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"architecture": "resnet19"}, "architecture", "unknown architecture 'resnet19'"),
        ({"arguments": {"blocks": [1, 1]}}, "arguments", "blocks must be four positive integers"),
        ({"architecture": "resnet18", "arguments": {"weights": "DEFAULT"}}, "arguments", "weights"),
        ({"architecture": "vgg11", "arguments": {"weights": "DEFAULT"}}, "arguments", "weights"),
        (
            {"classes": ["cat", "dog"]},
            "file",
            r"fc.weight as float32\[3, 8\], the network wants float32\[2, 8\]",
        ),
        (
            {"preprocessing": {"size": 32, "layout": "NHWC"}},
            "preprocessing",
            "torchvision's networks take NCHW",
        ),
    ],
)
def test_a_declaration_the_network_cannot_have_is_refused(
    file: Path, network: nn.Module, changes: dict[str, object], field: str, message: str
) -> None:
    write(file, network.state_dict())
    with pytest.raises(ClassifierError, match=message) as refused:
        open_classifier(file, declared().model_copy(update=dict(declared(**changes))))
    assert refused.value.field == field


def test_a_size_the_network_cannot_take_is_named(file: Path) -> None:
    network = torchvision.models.get_model("squeezenet1_1", weights=None, num_classes=3)
    classifier = open_classifier(write(file, network.state_dict()), declared("squeezenet1_1", 8))
    with pytest.raises(ClassifierError, match="the network refuses pictures of 8 px: Given input size"):
        classifier.forward(pictures(1, side=8))


def _cut_off(file: Path) -> None:
    write(file, {"fc.bias": torch.zeros(1000)})
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut_off, "not safetensors, or it is cut off"),
        (lambda file: file.write_bytes(b""), "empty"),
        (lambda file: file.write_bytes(b"\x08"), "not safetensors, or it is cut off"),
        (lambda file: file.write_bytes(pickle.dumps(print)), "not a safetensors file but a Python pickle"),
        (lambda file: torch.save({}, file), "not a safetensors file but a zip archive, as torch.save"),
        (
            lambda file: file.write_bytes((2**40).to_bytes(8, "little") + b"{}"),
            "a header of 1099511627776 bytes",
        ),
        (
            lambda file: file.write_bytes((2**24 + 1).to_bytes(8, "little") + b"{"),
            "a header of 16777217 bytes",
        ),
        (lambda file: save_file({}, file), "holds no tensors"),
    ],
)
def test_files_that_are_something_else_are_refused_by_name(
    file: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(file)
    with pytest.raises(ClassifierError, match=message) as refused:
        inspect_file(file, declared())
    assert refused.value.field == "file"


@pytest.mark.parametrize("length", [0x0280, 0x0480, 0x088B1F, 0x5A4D])
def test_a_header_length_that_looks_like_a_pickle_or_program_is_not_taken_for_one(file: Path, length: int) -> None:
    write(file, {"padding": torch.zeros(1)})
    content = file.read_bytes()
    header, data = content[8:-4], content[-4:]
    file.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + data)
    assert recognise(file.read_bytes()[:16]) == "a safetensors file"
    inspect_file(file, declared())
