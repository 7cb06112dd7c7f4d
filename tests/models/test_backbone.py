"""One forward, the same figures on every runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.backbone import Backbone
from models.bank import Bank
from models.errors import BackboneError, DeviceError
from models.geometry import prepare
from models.masks import nams
from tests.models.conftest import ARGUMENTS, PREPROCESSING


@pytest.fixture(scope="module")
def batch(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.stack([prepare(picture, PREPROCESSING) for picture in pictures])


@pytest.fixture(scope="module")
def eager(bank: Bank) -> Backbone:
    return bank.backbone(runtime="torch", precision="fp32")


def test_features_are_consistent_with_each_other(eager: Backbone, batch: torch.Tensor) -> None:
    features = eager.forward(batch)
    assert features.maps.shape == (4, 24, 12, 12)
    assert features.maps.min() >= 0
    assert torch.allclose(features.phi, features.maps.mean((2, 3)), atol=1e-6)
    assert torch.allclose(features.logits, features.phi @ eager.weight.T + eager.bias, atol=1e-5)


def test_the_default_runtime_gives_the_eager_figures(
    bank: Bank, eager: Backbone, batch: torch.Tensor, tmp_path: Path
) -> None:
    default = bank.backbone(cache=tmp_path)
    assert (default.runtime, default.precision, default.provider) == ("onnxruntime", "fp32", "CPUExecutionProvider")
    expected, found = eager.forward(batch), default.forward(batch)
    assert torch.allclose(found.logits, expected.logits, atol=1e-4)
    assert (nams(found.maps) - nams(expected.maps)).abs().max() < 2 / 255
    assert list(tmp_path.glob("*.onnx")), "the exported trunk is kept for the next start"
    again = bank.backbone(cache=tmp_path)
    assert torch.equal(again.forward(batch).maps, found.maps)


def test_a_batch_of_one_works_and_equals_its_row(bank: Bank, eager: Backbone, batch: torch.Tensor) -> None:
    for backbone in (eager, bank.backbone()):
        together, alone = backbone.forward(batch), backbone.forward(batch[2:3])
        assert torch.allclose(alone.logits, together.logits[2:3], atol=1e-5)
        assert torch.allclose(alone.maps, together.maps[2:3], atol=1e-5)


def test_bf16_is_near_fp32(bank: Bank, eager: Backbone, batch: torch.Tensor) -> None:
    found = bank.backbone(precision="bf16")
    assert found.runtime == "torch"
    maps = found.forward(batch).maps
    assert maps.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(maps.flatten(), eager.forward(batch).maps.flatten(), dim=0) > 0.999


def load(weights: Path, **changes: object) -> Backbone:
    options = {"architecture": "small_resnet", "arguments": ARGUMENTS, "num_classes": 5, "preprocessing": PREPROCESSING}
    return Backbone.load(weights, **(options | changes))


def test_weights_of_another_network_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="do not load"):
        load(weights, num_classes=7)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BackboneError, match=r"damaged\.safetensors"):
        load(damaged)
    with pytest.raises(BackboneError, match=r"missing\.safetensors"):
        load(tmp_path / "missing.safetensors")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA, so nothing can be missing")
def test_cuda_is_never_replaced_silently(weights: Path) -> None:
    with pytest.raises(DeviceError, match="cuda"):
        load(weights, device="cuda")


def test_runtimes_that_cannot_keep_their_promise_are_refused(weights: Path) -> None:
    with pytest.raises(BackboneError, match="bf16"):
        load(weights, runtime="onnxruntime", precision="bf16")


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_activations_are_the_features_of_the_forward_and_have_gradients(
    bank: Bank, batch: torch.Tensor, runtime: str
) -> None:
    backbone = bank.backbone(runtime=runtime, precision="fp32")
    floating = (batch.float() / 255).requires_grad_()
    phi = backbone.activations(floating)
    torch.testing.assert_close(phi.detach(), backbone.forward(batch).phi, atol=1e-4, rtol=1e-4)
    (gradient,) = torch.autograd.grad(phi.sum(), floating)
    assert gradient.shape == floating.shape
    assert gradient.abs().sum() > 0
    assert all(not parameter.requires_grad for parameter in backbone._layers.parameters())


def test_weights_that_changed_since_give_no_gradients(weights: Path, batch: torch.Tensor, tmp_path: Path) -> None:
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    backbone = load(copy, runtime="torch")
    changed = {name: value + 1 for name, value in load_file(copy).items()}
    save_file(changed, copy)
    with pytest.raises(BackboneError, match="changed"):
        backbone.activations(batch.float() / 255)
