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
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models import architectures
from models.components import Components
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
        phi: [N, D], >= 0, the mean of the maps. Where a bank labels K components: [N, D + K], their alphas last.
        maps: [N, D, h, w], >= 0; [N, D + K, h, w] with components, whose maps have both signs.
    """

    logits: Tensor
    phi: Tensor
    maps: Tensor


class Backbone:
    """A loaded network with its own preprocessing.

    Attributes:
        architecture: its name in `models.architectures`.
        preprocessing: how a picture becomes its input.
        weight, bias: the head, float32 [C, D] and [C], on `device`.
        device: where it runs.
        precision: "fp32" or "bf16", of the trunk; features, maps and logits are float32 always.
        runtime: "torch" or "onnxruntime".
        provider: what really runs, e.g. "CPUExecutionProvider" or "torch-cuda".
        weights_digest: SHA-256 of the weights file, hexadecimal.
        components: neural principal components that are served like channels; None where there are none.
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
        components: Components | None = None,
        differentiable: Callable[[], nn.Module] | None = None,
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
        self.components = components
        self._trunk = trunk
        self._build_differentiable = differentiable

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
        components: str | os.PathLike[str] | None = None,
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
            components: safetensors file of `Components`, which then follow the channels.

        Raises:
            ArchitectureError: no such network. BackboneError: the weights do not fit it, or the device, precision
                and runtime do not go together.
        """
        path = Path(weights)
        module, digest = _network(path, architecture, num_classes, arguments)
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
        head = architectures.head(architecture, module)
        weight = head.weight.detach().to(target, torch.float32)
        bias = head.bias.detach().to(target, torch.float32)
        network = _Trunk(architectures.trunk(architecture, module), preprocessing)
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
            components=None if components is None else Components.load(components).to(target),
            differentiable=lambda: _differentiable(path, digest, architecture, num_classes, arguments, preprocessing),
        )

    @torch.inference_mode()
    def forward(self, pictures: Tensor) -> Features:
        """Run N prepared pictures.

        Args:
            pictures: uint8 [N, 3, s, s], as `models.geometry.prepare` gives them; copied to the device here, once.
        """
        maps = self._trunk(pictures)
        phi = architectures.penultimate(maps)
        logits = torch.addmm(self.bias, phi, self.weight.T)
        if self.components is not None:
            phi = torch.cat([phi, self.components.alphas(phi)], dim=1)
            maps = torch.cat([maps, self.components.maps(maps)], dim=1)
        return Features(logits=logits, phi=phi, maps=maps)

    def activations(self, pictures: Tensor) -> Tensor:
        """Penultimate features with their gradients with respect to the pictures, always by torch.

        The served trunk gives no gradients, so the weights are read a second time when this is first called.

        Args:
            pictures: float [N, 3, s, s] in [0, 1].

        Returns:
            phi, float32 [N, D], >= 0, on `device`: the channels that `forward` gives, without components.

        Raises:
            BackboneError: the weights are gone or are not those that were loaded, or there never was a file of them.
        """
        layers = self._layers
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            maps: Tensor = layers(pictures.to(self.device).contiguous(memory_format=torch.channels_last))
        return architectures.penultimate(maps.float())

    @cached_property
    def _layers(self) -> nn.Module:
        if self._build_differentiable is None:
            raise BackboneError(f"backbone {self.architecture!r} gives no gradients", field="backbone")
        layers = self._build_differentiable().to(self.device)
        return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class _Trunk(nn.Module):
    """uint8 pictures to float maps: the preprocessing's arithmetic and the network up to its pooling."""

    def __init__(self, layers: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.layers = layers
        self.preprocessing = preprocessing.model_copy(update={"layout": "NCHW"})

    def forward(self, pictures: Tensor) -> Tensor:
        maps: Tensor = self.layers(normalise(pictures, self.preprocessing))
        return maps


def _network(
    path: Path, architecture: str, num_classes: int, arguments: Mapping[str, Any] | None
) -> tuple[nn.Module, str]:
    """The named network filled from a file, ready to be run, and the digest of the file."""
    module = architectures.build(architecture, num_classes, arguments).eval()
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        state = {key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()}
        module.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[:3]
        raise BackboneError(
            f"weights {path.name!r} do not load into {architecture}: {' '.join(reason)}", field="weights"
        ) from error
    return module, digest


def _differentiable(
    path: Path,
    digest: str,
    architecture: str,
    num_classes: int,
    arguments: Mapping[str, Any] | None,
    preprocessing: Preprocessing,
) -> nn.Module:
    """The trunk with fixed weights: gradients flow to the pictures alone, which spares half the backward pass."""
    with torch.inference_mode(False):
        module, found = _network(path, architecture, num_classes, arguments)
    if found != digest:
        raise BackboneError(f"weights {path.name!r} have changed since they were loaded", field="weights")
    return _Trunk(architectures.trunk(architecture, module), preprocessing).requires_grad_(False)


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
