"""The robust model: one forward gives logits, penultimate features and their maps together."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models import architectures
from models.errors import BackboneError
from models.geometry import Preprocessing, normalise
from models.runtime import open_session, resolve_device

Precision = Literal["auto", "fp32", "bf16"]
Runtime = Literal["auto", "torch", "onnxruntime"]
Trunk = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Features:
    """What one forward over N pictures gives, all float32 and on the backbone's device.

    Attributes:
        logits: [N, C].
        phi: [N, D], >= 0, the mean of the maps.
        maps: [N, D, h, w], >= 0.
    """

    logits: Tensor
    phi: Tensor
    maps: Tensor


class Backbone:
    """A loaded ResNet-like network with its own preprocessing.

    Attributes:
        architecture: its name in `models.architectures`.
        preprocessing: how a picture becomes its input.
        weight, bias: the head, float32 [C, D] and [C], on `device`.
        device: where it runs.
        precision: "fp32" or "bf16", of the trunk; features, maps and logits are float32 always.
        runtime: "torch" or "onnxruntime".
        provider: what really runs, e.g. "CPUExecutionProvider" or "torch-cuda".
        weights_digest: SHA-256 of the weights file, hexadecimal.
    """

    def __init__(
        self,
        *,
        architecture: str,
        preprocessing: Preprocessing,
        weight: Tensor,
        bias: Tensor,
        trunk: Trunk,
        precision: str,
        runtime: str,
        provider: str,
        weights_digest: str,
    ) -> None:
        self.architecture = architecture
        self.preprocessing = preprocessing
        self.weight = weight
        self.bias = bias
        self.device = weight.device
        self.precision = precision
        self.runtime = runtime
        self.provider = provider
        self.weights_digest = weights_digest
        self._trunk = trunk

    @classmethod
    def load(
        cls,
        weights: str | os.PathLike[str],
        *,
        architecture: str,
        num_classes: int,
        preprocessing: Preprocessing,
        arguments: Mapping[str, Any] | None = None,
        device: str = "cpu",
        precision: Precision = "auto",
        runtime: Runtime = "auto",
        threads: int | None = None,
        compile: bool = False,
        cache: str | os.PathLike[str] | None = None,
    ) -> Backbone:
        """Build the named network and fill it from a safetensors file.

        Args:
            weights: safetensors with torchvision's state-dict keys, any floating dtype.
            architecture, arguments, num_classes: as in `models.architectures.build`.
            preprocessing: of the network; pictures reach `forward` already resized and cropped by it.
            device: "cpu", "cuda" or "auto".
            precision: of the trunk. "auto" is fp32 on the CPU and bf16 on CUDA.
            runtime: "auto" is ONNX Runtime for fp32 on the CPU (1.4 to 1.6 times eager torch, same figures) and
                torch elsewhere.
            threads: of ONNX Runtime; torch's own threads are the process's business.
            compile: let torch.compile the trunk (torch runtime only; the first forward takes long).
            cache: folder that keeps the exported trunk from one start to the next.

        Raises:
            ArchitectureError: no such network. BackboneError: the weights do not fit it, or the device, precision
                and runtime do not go together.
        """
        path = Path(weights)
        module = architectures.build(architecture, num_classes, arguments).eval()
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            state = {
                key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()
            }
            module.load_state_dict(state)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[:3]
            raise BackboneError(
                f"weights {path.name!r} do not load into {architecture}: {' '.join(reason)}", field="weights"
            ) from error
        target = resolve_device(device)
        chosen_precision = precision if precision != "auto" else ("bf16" if target.type == "cuda" else "fp32")
        exportable = target.type == "cpu" and chosen_precision == "fp32" and not compile
        chosen_runtime = runtime if runtime != "auto" else ("onnxruntime" if exportable else "torch")
        if chosen_runtime == "onnxruntime" and not exportable:
            raise BackboneError(
                f"runtime 'onnxruntime' runs backbones as fp32 on the CPU, not {chosen_precision} on {target}"
                + (" with compile" if compile else ""),
                field="runtime",
                remedy="use runtime 'torch' (or 'auto')",
            )
        weight = module.fc.weight.detach().to(target, torch.float32)
        bias = module.fc.bias.detach().to(target, torch.float32)
        network = _Trunk(architectures.trunk(module), preprocessing)
        if chosen_runtime == "onnxruntime":
            trunk, provider = _onnx_trunk(network, preprocessing, f"{architecture}-{digest}", threads, cache)
        else:
            trunk, provider = _torch_trunk(network, target, chosen_precision == "bf16", compile)
        return cls(
            architecture=architecture,
            preprocessing=preprocessing,
            weight=weight,
            bias=bias,
            trunk=trunk,
            precision=chosen_precision,
            runtime=chosen_runtime,
            provider=provider,
            weights_digest=digest,
        )

    @torch.inference_mode()
    def forward(self, pictures: Tensor) -> Features:
        """Run N prepared pictures.

        Args:
            pictures: uint8 [N, 3, s, s], as `models.geometry.prepare` gives them; copied to the device here, once.
        """
        maps = self._trunk(pictures)
        phi = architectures.penultimate(maps)
        return Features(logits=torch.addmm(self.bias, phi, self.weight.T), phi=phi, maps=maps)


class _Trunk(nn.Module):
    """uint8 pictures to float maps: the preprocessing's arithmetic and the network up to its pooling."""

    def __init__(self, layers: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.layers = layers
        self.preprocessing = preprocessing.model_copy(update={"layout": "NCHW"})

    def forward(self, pictures: Tensor) -> Tensor:
        maps: Tensor = self.layers(normalise(pictures, self.preprocessing))
        return maps


def _torch_trunk(network: nn.Module, device: torch.device, bf16: bool, compile: bool) -> tuple[Trunk, str]:
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run: Callable[[Tensor], Tensor] = torch.compile(network) if compile else network

    def trunk(pictures: Tensor) -> Tensor:
        if device.type == "cuda":
            pictures = pictures.pin_memory().to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return run(pictures.contiguous(memory_format=torch.channels_last)).float()

    return trunk, f"torch-{device.type}"


def _onnx_trunk(
    network: nn.Module,
    preprocessing: Preprocessing,
    key: str,
    threads: int | None,
    cache: str | os.PathLike[str] | None,
) -> tuple[Trunk, str]:
    settings = hashlib.sha256(f"{preprocessing.model_dump_json()} torch {torch.__version__}".encode()).hexdigest()[:16]
    exported = Path(cache) / f"{key}-{settings}.onnx" if cache else None
    if exported is not None and exported.is_file():
        session = open_session(exported, threads=threads)
    else:
        model = _export(network, preprocessing.size)
        session = open_session(model, threads=threads)
        if exported is not None:
            exported.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=exported.parent, delete=False) as draft:
                draft.write(model)
            Path(draft.name).replace(exported)
    name = session.get_inputs()[0].name

    def trunk(pictures: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: pictures.contiguous().numpy()})[0])

    return trunk, session.get_providers()[0]


def _export(network: nn.Module, size: int) -> bytes:
    """The trunk as an ONNX file for any batch size, uint8 [N, 3, s, s] -> float32 [N, D, h, w]."""
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=65536)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        file = Path(folder) / "trunk.onnx"
        torch.onnx.export(
            network,
            (example,),
            file,
            dynamo=True,
            external_data=False,
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
        return file.read_bytes()
