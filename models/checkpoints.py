"""Weights of ResNets from files of others: which tensors are the network's, which network it is, whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models import architectures
from models.errors import CheckpointError
from models.preprocessing import Preprocessing, Triple
from models.torch_files import AGAIN, StoredTensor, TorchFile

Layout = Literal["plain", "data-parallel", "robustness"]

MOST_HEADER_BYTES = 2**24
COUNTER = "num_batches_tracked"
"""A training counter of batch normalisation, of no use here and absent from files of torch before 0.4.1."""

STATES = ("model", "state_dict", "model_state_dict")
"""Under which key a checkpoint keeps its state dict, where the file is not one itself."""

NETWORKS = ("model.", "attacker.model.")
"""The network in the state dict of a `robustness.attacker.AttackerModel`; both are there, and the same."""
NORMALISERS = ("normalizer.new_", "attacker.normalize.new_", "normalize.new_")

TRANSFORMERS = ("encoder.layers.", "blocks.", "transformer.", "visual.transformer.", "vit.", "layers.0.blocks.")
WANTED = "Cuecheck needs convolutional maps, their mean over positions and a linear head on it: a ResNet"
SAVE = "save network.state_dict() of a torchvision ResNet with safetensors or torch.save"

MOST_MAP_ELEMENTS = 2**27
"""Of one picture in any layer: half a GiB. ResNet-50 at 224 px has 802,816, at 2,048 px 2 ** 26."""

DEPTHS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
"""Whether its blocks are bottlenecks, and how many each layer has, to the plainest network of that depth."""


class Network(NamedTuple):
    """A name of `models.architectures` and the arguments to build it with."""

    architecture: str
    arguments: dict[str, Any]


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


def infer_network(state: Mapping[str, Tensor]) -> Network:
    """What network these are the weights of, told by its blocks and their widths.

    Args:
        state: as in `Checkpoint.state`.

    Raises:
        CheckpointError: no ResNet of torchvision has such blocks. A `small_resnet` has to be declared, for the strides
            of its layers leave no trace in the weights.
    """
    blocks = tuple(_count_blocks(state, layer) for layer in range(1, 5))
    bottleneck = "layer1.0.conv3.weight" in state
    plainest = DEPTHS.get((bottleneck, blocks))
    if plainest is None or tuple(state["conv1.weight"].shape[2:]) != (7, 7):
        raise CheckpointError(
            f"no ResNet of torchvision has {blocks} blocks in its layers and a first convolution of "
            f"{list(state['conv1.weight'].shape)}",
            field="architecture",
            remedy=f"declare the architecture, one of {', '.join(architectures.names())}, and its arguments",
        )
    for name in architectures.names():
        if name != "small_resnet" and not _faults(state, _expected(Network(name, {}), len(state["fc.weight"]))):
            return Network(name, {})
    middle = state.get("layer1.0.conv2.weight")
    if not bottleneck or middle is None or middle.ndim != 4 or 0 in middle.shape:
        return Network(plainest, {})
    groups = max(1, middle.shape[0] // middle.shape[1])
    width = middle.shape[0] // groups
    return Network(plainest, {} if (groups, width) == (1, 64) else {"groups": groups, "width_per_group": width})


def fit_network(state: Mapping[str, Tensor], network: Network, classes: int) -> dict[str, Tensor]:
    """The state dict to load into the network, in its order and with the counters it may lack.

    Args:
        state: as in `Checkpoint.state`.
        network: declared or inferred.
        classes: how many there are.

    Raises:
        CheckpointError: tensors are missing, unknown or of another shape, or the head has another number of outputs.
        ArchitectureError: there is no such network.
    """
    outputs = len(state["fc.weight"])
    if outputs != classes:
        raise CheckpointError(
            f"the network's head has {outputs} outputs and {classes} classes are declared",
            field="classes",
            remedy=f"give the {outputs} class names in the order of the head's outputs",
        )
    expected = _expected(network, classes)
    if faults := _faults(state, expected):
        shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise CheckpointError(
            f"the file does not fit {network.architecture!r} with arguments {network.arguments}: it {shown}",
            field="architecture",
            remedy="declare the architecture and the arguments it was trained with, or leave both out to have them told"
            " by the weights",
        )
    return {name: state[name] if name in state else torch.zeros((), dtype=torch.int64) for name in expected}


def maps_shape(network: Network, classes: int, preprocessing: Preprocessing) -> tuple[int, int, int]:
    """Channels, height and width of the network's maps for one picture, without computing them.

    Raises:
        CheckpointError: the maps have one position only, or those of a layer would not fit into memory.
        ArchitectureError: there is no such network.
    """
    largest = torch.Size()

    def compare(module: nn.Module, inputs: object, maps: Tensor) -> None:
        nonlocal largest
        largest = max(largest, maps.shape[1:], key=prod)

    with torch.device("meta"):
        trunk = architectures.trunk(architectures.build(network.architecture, classes, network.arguments)).eval()
        for module in trunk.modules():
            module.register_forward_hook(compare)
        maps = trunk(torch.empty(1, 3, preprocessing.size, preprocessing.size))
    channels, height, width = maps.shape[1:]
    if height * width < 4:
        raise CheckpointError(
            f"pictures of {preprocessing.size} px give maps of {height} x {width}, in which nothing can be located",
            field="preprocessing.size",
            remedy=f"{WANTED}, with maps of at least 2 x 2: declare the size of picture it was trained with",
        )
    if prod(largest) > MOST_MAP_ELEMENTS:
        raise CheckpointError(
            f"pictures of {preprocessing.size} px give maps of {' x '.join(map(str, largest))} in one of the layers, "
            f"more than {MOST_MAP_ELEMENTS:,} numbers a picture",
            field="preprocessing.size",
            remedy="declare the size of picture it was trained with",
        )
    return channels, height, width


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
        CheckpointError: they are not those of a ResNet with a head.
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
    if "conv1.weight" not in network or "layer4.0.conv1.weight" not in network:
        raise CheckpointError(
            f"the file holds no ResNet with torchvision's names but {', '.join(sorted(network)[:3])[:200]}, ...",
            field="file",
            remedy=WANTED,
        )
    head = shapes[network["fc.weight"]] if {"fc.weight", "fc.bias"} <= network.keys() else ()
    if len(head) != 2 or 0 in head:
        raise CheckpointError(
            "the network has no linear head (fc.weight and fc.bias), so nothing says which features a class uses",
            field="file",
            remedy="train a head on your classes, or take the checkpoint before its head was cut off",
        )
    if len(shapes[network["conv1.weight"]]) != 4:
        raise CheckpointError("the network's first convolution is no convolution", field="file", remedy=SAVE)


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


# --- What network it is


def _count_blocks(state: Mapping[str, Tensor], layer: int) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(f"layer{layer}.")})


def _expected(network: Network, classes: int) -> dict[str, Tensor]:
    """The network's own state dict, with shapes and kinds but no numbers."""
    with torch.device("meta"):
        return architectures.build(network.architecture, classes, network.arguments).state_dict()


def _faults(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors from being the network's; counters may be missing."""
    faults = [f"lacks {name}" for name in expected if name not in state and not name.endswith(COUNTER)]
    faults += [f"has {name[:100]}, which the network lacks" for name in state if name not in expected]
    faults += [
        f"has {name} as {_kind(state[name])}, the network wants {_kind(wanted)}"
        for name, wanted in expected.items()
        if name in state and _kind(state[name]) != _kind(wanted)
    ]
    return faults


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
