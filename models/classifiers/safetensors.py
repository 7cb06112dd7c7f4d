"""Classifiers as safetensors weights of a network that torchvision names, run by torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import models.torchvision_ops  # noqa: F401  isort: skip  (before torchvision, see there)
import numpy as np
import torch
import torchvision
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from models import architectures
from models.classifiers.inputs import NetworkInput
from models.classifiers.linear_head import HeadError, LinearHead, as_features
from models.classifiers.signatures import refuse_disguise
from models.classifiers.spec import ClassifierSpec
from models.errors import ArchitectureError, ClassifierError
from models.families import RESNETS, family_of
from models.runtime import resolve_device
from models.spufix import Correction

MOST_HEADER_BYTES = 2**24
"""The header names every tensor; a thousand of them take about 0.1 MiB."""

COUNTER = "num_batches_tracked"
"""A training counter of batch normalisation, of no use here and often left out of files."""

SAVE = "save network.state_dict() of exactly the declared architecture with safetensors.torch.save_file"


def inspect(path: Path, spec: ClassifierSpec) -> None:
    """Check header and size of the file; see `models.classifiers.inspect_file`."""
    refuse_disguise(path, "a safetensors file")
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
    if header_bytes > MOST_HEADER_BYTES:
        raise ClassifierError(
            f"the file states a header of {header_bytes} bytes; at most {MOST_HEADER_BYTES} are read, "
            "so it is not safetensors or was made to exhaust memory",
            field="file",
            remedy=SAVE,
        )
    try:
        with safe_open(path, framework="numpy") as opened:
            names = list(opened.keys())
    except SafetensorError as error:
        raise ClassifierError(
            f"the file is not safetensors, or it is cut off: {error}", field="file", remedy=SAVE
        ) from error
    if not names:
        raise ClassifierError("the file holds no tensors", field="file", remedy=SAVE)


def names() -> list[str]:
    """All architectures that may be declared, in alphabetical order."""
    return sorted({*architectures.names(), *torchvision.models.list_models(module=torchvision.models)})


def open_classifier(
    path: Path,
    spec: ClassifierSpec,
    device: str,
    threads: int,
    allow_cpu_nodes: bool,
    cuda_memory_bytes: int | None,
    features: bool = False,
) -> SafetensorsClassifier:
    """Build the network and load its weights; see `models.classifiers.open_classifier`.

    `threads` holds for the whole process, as torch has it; `allow_cpu_nodes` plays no part.
    """
    if spec.preprocessing.layout != "NCHW":
        raise ClassifierError(
            f"layout {spec.preprocessing.layout!r} is declared; torchvision's networks take NCHW",
            field="preprocessing",
            remedy="declare layout 'NCHW'",
        )
    place = resolve_device(device)
    torch.set_num_threads(threads)
    if place.type == "cuda" and cuda_memory_bytes is not None:
        total = torch.cuda.get_device_properties(place).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, cuda_memory_bytes / total), place)
    network = _build(spec)
    network.load_state_dict(_fitting(load_file(path), network.state_dict(), spec), assign=True)
    network.eval().requires_grad_(False)
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    classifier = SafetensorsClassifier(network, place, spec)
    if features:
        classifier.find_head()
    return classifier


class SafetensorsClassifier:
    """A torch network with loaded weights; a `models.classifiers.Classifier`.

    Attributes:
        network: in evaluation mode, on its device.
    """

    fixed_batch: int | None = None

    def __init__(self, network: nn.Module, device: torch.device, spec: ClassifierSpec) -> None:
        self.network = network
        self._device = device
        self._classes = len(spec.classes)
        self._input = NetworkInput(spec.preprocessing)
        self.provider = f"torch-{device.type}"
        self.head: LinearHead | None = None
        self.spufix: Correction | None = None
        self.head_name = ""
        self._features: Tensor | None = None

    def find_head(self) -> None:
        """Set `head` to the linear layer that the scores come from, `head_name` to its name in the state dict.

        Raises:
            HeadError: there is none.
        """
        side = self._input.preprocessing.size
        ran: list[tuple[str, nn.Linear, Tensor]] = []
        hooks = [
            module.register_forward_hook(lambda own, _, out, name=name: ran.append((name, own, out)))
            for name, module in self.network.named_modules()
            if isinstance(module, nn.Linear)
        ]
        scores = self.forward(np.zeros((1, 3, side, side), np.float32))
        for hook in hooks:
            hook.remove()
        if not ran or not np.array_equal(ran[-1][2].cpu().numpy(), scores):
            last = list(self.network.named_modules())[-1]
            raise HeadError(
                f"the classifier has no linear head: the network ends in {type(last[1]).__name__} ({last[0]!r})",
                remedy="use an architecture whose last layer is linear",
            )
        self.head_name, layer, _ = ran[-1]
        bias = torch.zeros(self._classes) if layer.bias is None else layer.bias.cpu()
        self.head = LinearHead(layer.weight.cpu().numpy(), bias.numpy())
        layer.register_forward_pre_hook(self._keep)

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0]

    def look(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and features, float32 [N, D]; see `models.classifiers.Classifier`."""
        assert self.head is not None
        scores = self.forward(batch)
        assert self._features is not None
        features = as_features(self._features.cpu().numpy(), len(batch), self.head.weight.shape[1])
        self.head.check(features, scores)
        return scores, features

    @torch.inference_mode()
    def forward(self, batch: np.ndarray) -> np.ndarray:
        """float32 [N, 3, s, s] in [0, 1] -> float32 [N, C]; see `models.classifiers.Classifier`."""
        pictures = torch.from_numpy(self._input(batch)).to(self._device, memory_format=torch.channels_last)
        try:
            scores = self.network(pictures)
        except (RuntimeError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise ClassifierError(
                f"the network refuses pictures of {batch.shape[-1]} px: {error}",
                field="preprocessing",
                remedy="declare the size it was trained with",
            ) from error
        if scores.shape != (len(batch), self._classes):
            raise ClassifierError(
                f"{len(batch)} pictures gave scores of shape {list(scores.shape)}; "
                f"{self._classes} classes are declared",
                field="classes",
            )
        return np.asarray(scores.cpu().numpy(), np.float32)


def _build(spec: ClassifierSpec) -> nn.Module:
    """The declared network in eval mode, without weights wherever it can be built so: they come from the file."""
    try:
        with torch.device("meta"):
            return _named(spec)
    except NotImplementedError:
        # torchvision 0.28.0 computes the widths of a RegNet with tensors, which hold no numbers on "meta".
        return _named(spec)


def _named(spec: ClassifierSpec) -> nn.Module:
    name, arguments = spec.architecture or "", dict(spec.arguments or {})
    try:
        if name in architectures.names() and family_of(name) is RESNETS:
            return architectures.build(name, len(spec.classes), arguments)
        if name not in names():
            raise ClassifierError(
                f"unknown architecture {name!r}",
                field="architecture",
                remedy=f"known are: {', '.join(names())}",
            )
        network: nn.Module = torchvision.models.get_model(
            name, weights=None, num_classes=len(spec.classes), **arguments
        )
    except (ArchitectureError, TypeError, ValueError) as error:
        raise ClassifierError(
            f"architecture {name!r} cannot be built with arguments {arguments}: {error}", field="arguments"
        ) from error
    return network


def _fitting(found: dict[str, Tensor], expected: Mapping[str, Tensor], spec: ClassifierSpec) -> dict[str, Tensor]:
    """The file's tensors as float32, checked against the network's.

    Raises:
        ClassifierError: tensors are missing, unknown, or of another shape or kind than the network's.
    """
    found = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
    for name in expected:
        if name.endswith(COUNTER):
            found.setdefault(name, torch.zeros((), dtype=torch.int64))
    faults = [f"lacks {name}" for name in expected if name not in found]
    faults += [f"has {name}, which the network lacks" for name in found if name not in expected]
    faults += [
        f"has {name} as {_kind(found[name])}, the network wants {_kind(wanted)}"
        for name, wanted in expected.items()
        if name in found and _kind(found[name]) != _kind(wanted)
    ]
    if faults:
        shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise ClassifierError(
            f"the file does not fit {spec.architecture!r} with {len(spec.classes)} classes: it {shown}",
            field="file",
            remedy=SAVE,
        )
    return found


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
