"""Weights from files of others: which tensors are the network's, and its normaliser's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.errors import CheckpointError
from models.network import WANTED, family_of_weights
from models.preprocessing import Triple
from models.torch_files import AGAIN, StoredTensor, TorchFile

Layout = Literal["plain", "data-parallel", "robustness"]

MOST_HEADER_BYTES = 2**24

STATES = ("model", "state_dict", "model_state_dict")
"""Under which key a checkpoint keeps its state dict, where the file is not one itself."""

NETWORKS = ("model.", "attacker.model.")
"""The network in the state dict of a `robustness.attacker.AttackerModel`; both are there, and the same."""
NORMALISERS = ("normalizer.new_", "attacker.normalize.new_", "normalize.new_")

TRANSFORMERS = ("encoder.layers.", "blocks.", "transformer.", "visual.transformer.", "vit.", "layers.0.blocks.")
SAVE = "save network.state_dict() of a torchvision network with safetensors or torch.save"


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a file.

    Attributes:
        state: torchvision's state-dict keys to tensors, floating ones as float32 and finite.
        mean, std: of the normaliser that was saved with the network, for RGB in [0, 1]; None where there is none.
        layout: how the file kept it.
        format: "safetensors" or "torch".
    """

    state: dict[str, Tensor]
    mean: Triple | None
    std: Triple | None
    layout: Layout
    format: Literal["safetensors", "torch"]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the weights in a file; nothing that it names is imported or run.

    Args:
        path: safetensors, or a file of torch.save (also of torch before 1.6): a state dict, or a dictionary with one
            under "model" or "state_dict"; its keys plain, of DataParallel, or of the `robustness` library.

    Raises:
        CheckpointError: it is cut off, damaged, of another kind, too large, has weights that are not finite, or holds
            no network with convolutional maps and a linear head.
    """
    with path.open("rb") as file:
        head = file.read(9)
    if len(head) == 9 and head[8:] == b"{":
        return _from_safetensors(path, int.from_bytes(head[:8], "little"))
    with TorchFile(path) as opened:
        stored = _state_dict(opened.content)
        names = _names({name: tensor.shape for name, tensor in stored.items()})
        state = opened.tensors({name: stored[found] for name, found in names.network.items()})
        normaliser = opened.tensors({name: stored[found] for name, found in names.normaliser.items()})
    return _checkpoint(state, normaliser, names.layout, "torch")


def _from_safetensors(path: Path, header_bytes: int) -> Checkpoint:
    if header_bytes > MOST_HEADER_BYTES:
        raise CheckpointError(
            f"the file states a header of {header_bytes} bytes; at most {MOST_HEADER_BYTES} are read",
            field="file",
            remedy=SAVE,
        )
    try:
        with safe_open(path, framework="pt") as opened:
            names = _names({name: tuple(opened.get_slice(name).get_shape()) for name in list(opened.keys())})
            state = {name: opened.get_tensor(found) for name, found in names.network.items()}
            normaliser = {name: opened.get_tensor(found) for name, found in names.normaliser.items()}
    except SafetensorError as error:
        raise CheckpointError(f"the file is no whole safetensors file: {error}", field="file", remedy=AGAIN) from error
    return _checkpoint(state, normaliser, names.layout, "safetensors")


# --- Where the network is in the file


class _Names(NamedTuple):
    layout: Layout
    network: dict[str, str]
    normaliser: dict[str, str]


def _state_dict(content: Any) -> dict[str, StoredTensor]:
    """The tensors of the state dict in what a file of torch.save says."""
    if not isinstance(content, dict):
        raise CheckpointError(
            "the file holds a pickled object, a whole network perhaps, and no state dict",
            field="file",
            remedy=SAVE,
        )
    found = next((content[key] for key in STATES if isinstance(content.get(key), dict)), content)
    tensors = {name: value for name, value in found.items() if isinstance(value, StoredTensor)}
    return {str(name): value for name, value in tensors.items()}


def _names(shapes: Mapping[str, tuple[int, ...]]) -> _Names:
    """Which tensors are the network's and its normaliser's, by the names they will have.

    Raises:
        CheckpointError: they are not those of a known network with a head.
    """
    outer = "module." if shapes and all(name.startswith("module.") for name in shapes) else ""
    inner = next((prefix for prefix in NETWORKS if any(name.startswith(outer + prefix) for name in shapes)), "")
    prefix = outer + inner
    network = {name.removeprefix(prefix): name for name in shapes if name.startswith(prefix)}
    normaliser = {
        figure: f"{outer}{place}{figure}"
        for place in reversed(NORMALISERS)
        for figure in ("mean", "std")
        if prod(shapes.get(f"{outer}{place}{figure}", ())) == 3
    }
    _refuse_other_networks(network, shapes)
    return _Names("robustness" if inner else "data-parallel" if outer else "plain", network, normaliser)


def _refuse_other_networks(network: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> None:
    if not network:
        raise CheckpointError("the file holds no tensors", field="file", remedy=SAVE)
    if any(name.startswith(TRANSFORMERS) for name in network):
        raise CheckpointError("the file holds a transformer: it has no convolutional maps", field="file", remedy=WANTED)
    family = family_of_weights(network)
    weight, bias = f"{family.head}.weight", f"{family.head}.bias"
    shape = shapes[network[weight]] if {weight, bias} <= network.keys() else ()
    if len(shape) != 2 or 0 in shape:
        raise CheckpointError(
            f"the network has no linear head ({weight} and {bias}), so nothing says which features a class uses",
            field="file",
            remedy="train a head on your classes, or take the checkpoint before its head was cut off",
        )


def _checkpoint(
    state: dict[str, Tensor],
    normaliser: Mapping[str, Tensor],
    layout: Layout,
    format: Literal["safetensors", "torch"],
) -> Checkpoint:
    state, normaliser = _floats(state), _floats(normaliser)
    for name, tensor in [*state.items(), *normaliser.items()]:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{int((~torch.isfinite(tensor)).sum())} of {tensor.numel()} numbers in {name[:100]!r} are not finite",
                field="file",
                remedy="take a checkpoint from before the training diverged",
            )
    if len(normaliser) < 2:
        return Checkpoint(state, None, None, layout, format)
    mean, std = _triple(normaliser["mean"]), _triple(normaliser["std"])
    if min(std) <= 0:
        raise CheckpointError(f"the file's normaliser divides by {std}", field="file", remedy=AGAIN)
    return Checkpoint(state, mean, std, layout, format)


def _floats(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same, floating ones of whatever width as float32; those that it cannot hold become infinite."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _triple(figures: Tensor) -> Triple:
    if not figures.is_floating_point():
        raise CheckpointError(f"the file's normaliser is of kind {figures.dtype}", field="file", remedy=AGAIN)
    # Seven digits, as float32 has them: 0.485 shall not come back as 0.48500001430511475.
    red, green, blue = (float(f"{figure:.7g}") for figure in figures.flatten().tolist())
    return red, green, blue
