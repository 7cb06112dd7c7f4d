"""Which network weights are of, told by their names and shapes, whether they fit it, and what maps it gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models import architectures
from models.errors import CheckpointError
from models.families import FAMILIES, RESNETS, Family
from models.preprocessing import Preprocessing

COUNTER = "num_batches_tracked"
"""A training counter of batch normalisation, of no use here and absent from files of torch before 0.4.1."""

KINDS = f"{', '.join(family.title for family in FAMILIES[:-1])} or {FAMILIES[-1].title}"
WANTED = f"Cuecheck needs convolutional maps, their mean over positions and a linear head on it: a {KINDS}"

DECLARE = f"declare the architecture, one of {', '.join(architectures.names())}, and its arguments"

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


def family_of_weights(names: Collection[str]) -> Family:
    """The family whose weights have such names.

    Raises:
        CheckpointError: there is none.
    """
    for family in FAMILIES:
        if any(name.startswith(family.sign) for name in names):
            return family
    raise CheckpointError(
        f"the file holds no {KINDS} with torchvision's names but {', '.join(sorted(names)[:3])[:200]}, ...",
        field="file",
        remedy=WANTED,
    )


def infer_network(state: Mapping[str, Tensor]) -> Network:
    """What network these are the weights of, told by their names and shapes.

    Args:
        state: as in `models.checkpoints.Checkpoint.state`.

    Raises:
        CheckpointError: no network of torchvision has such weights. A `small_resnet` has to be declared, for the
            strides of its layers leave no trace in the weights.
    """
    family = family_of_weights(state)
    for name in architectures.names():
        if name.startswith(family.prefixes) and name != "small_resnet":
            network = Network(name, {})
            if not _faults(state, _expected(network, _outputs(state))):
                return network
    if family is RESNETS:
        return _wider_resnet(state)
    raise CheckpointError(f"no {family.title} of torchvision has such weights", field="architecture", remedy=DECLARE)


def _wider_resnet(state: Mapping[str, Tensor]) -> Network:
    """A ResNet of torchvision's depths and a width of its own, told by its blocks."""
    blocks = tuple(_count_blocks(state, layer) for layer in range(1, 5))
    bottleneck = "layer1.0.conv3.weight" in state
    plainest = DEPTHS.get((bottleneck, blocks))
    first = list(state["conv1.weight"].shape) if "conv1.weight" in state else None
    if plainest is None or first is None or first[2:] != [7, 7]:
        raise CheckpointError(
            f"no ResNet of torchvision has {blocks} blocks in its layers and a first convolution of {first}",
            field="architecture",
            remedy=DECLARE,
        )
    middle = state.get("layer1.0.conv2.weight")
    if not bottleneck or middle is None or middle.ndim != 4 or 0 in middle.shape:
        return Network(plainest, {})
    groups = max(1, middle.shape[0] // middle.shape[1])
    width = middle.shape[0] // groups
    return Network(plainest, {} if (groups, width) == (1, 64) else {"groups": groups, "width_per_group": width})


def fit_network(state: Mapping[str, Tensor], network: Network, classes: int) -> dict[str, Tensor]:
    """The state dict to load into the network, in its order and with the counters it may lack.

    Args:
        state: as in `models.checkpoints.Checkpoint.state`.
        network: declared or inferred.
        classes: how many there are.

    Raises:
        CheckpointError: tensors are missing, unknown or of another shape, or the head has another number of outputs.
        ArchitectureError: there is no such network.
    """
    outputs = _outputs(state)
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
        module = architectures.build(network.architecture, classes, network.arguments)
        trunk = architectures.trunk(network.architecture, module).eval()
        for layer in trunk.modules():
            layer.register_forward_hook(compare)
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


def _outputs(state: Mapping[str, Tensor]) -> int:
    return len(state[f"{family_of_weights(state).head}.weight"])


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
