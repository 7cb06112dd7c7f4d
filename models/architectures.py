"""Networks by name: those of torchvision's families in ``models.families``, and a small ResNet of torchvision's blocks.

All of them have torchvision's plain state-dict keys, end in a ReLU -> mean -> linear layer, and so give non-negative
maps, penultimate features ``phi`` (the mean of the maps) and a linear head.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import models.torchvision_ops  # noqa: F401  isort: skip  (before torchvision, see there)
import torch
import torchvision
from torch import nn
from torchvision.models import get_model_builder, list_models
from torchvision.models.resnet import BasicBlock, ResNet

from models.errors import ArchitectureError
from models.families import FAMILIES, RESNETS, family_of

RESNET_ARGUMENTS = frozenset({"groups", "width_per_group", "replace_stride_with_dilation"})
"""What a torchvision ResNet may be built with, by name (never ``weights``: that would download); others take none."""

MOST = 4096
"""Of anything an argument counts; blocks are bounded by ``MOST_BLOCKS``. Arguments come from requests."""

MOST_BLOCKS = 64
"""In one layer of a ``SmallResNet``: each takes milliseconds to build."""


class SmallResNet(ResNet):
    """A ResNet for small pictures: torchvision's basic blocks, a 3 x 3 stem, no max-pooling.

    blocks: residual blocks in each of the four layers.
    widths: channels of each layer; ``widths[3]`` is the number D of penultimate features.
    strides: stride of the first block of each layer.
    stem_stride: stride of the first convolution. Pictures of side s give maps of side
    ``s / (stem_stride * product(strides))``.
    """

    def __init__(
        self,
        num_classes: int,
        blocks: Sequence[int] = (1, 1, 1, 1),
        widths: Sequence[int] = (32, 64, 128, 256),
        strides: Sequence[int] = (1, 2, 2, 2),
        stem_stride: int = 1,
    ) -> None:
        limits = {"blocks": (blocks, MOST_BLOCKS), "widths": (widths, MOST), "strides": (strides, MOST)}
        for name, (values, most) in limits.items():
            if len(values) != 4 or not all(_counts(value, most) for value in values):
                raise ArchitectureError(
                    f"small_resnet: {name} must be four positive integers to {most}, not {values!r}"
                )
        if not _counts(stem_stride, MOST):
            raise ArchitectureError(
                f"small_resnet: stem_stride must be an integer from 1 to {MOST}, not {stem_stride!r}"
            )
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)
        self.inplanes = widths[0]
        self.conv1 = nn.Conv2d(3, widths[0], kernel_size=3, stride=stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.maxpool = nn.Identity()
        for index, (count, width, stride) in enumerate(zip(blocks, widths, strides, strict=True), start=1):
            setattr(self, f"layer{index}", self._make_layer(BasicBlock, width, count, stride=stride))
        self.fc = nn.Linear(widths[3], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def names() -> list[str]:
    """All architectures that ``build`` knows, in alphabetical order."""
    prefixes = tuple(prefix for family in FAMILIES for prefix in family.prefixes)
    known = (name for name in list_models(module=torchvision.models) if name.startswith(prefixes))
    return sorted([*known, "small_resnet"])


def build(name: str, num_classes: int, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """A freshly initialised network.

    name: one of ``names()``; num_classes: outputs of the head, at least 1; arguments: keyword arguments of
    ``SmallResNet`` or, for torchvision's ResNets, those in ``RESNET_ARGUMENTS``.
    Raises ArchitectureError for an unknown name or argument, or arguments the network refuses.
    """
    arguments = dict(arguments or {})
    if name not in names():
        raise ArchitectureError(f"unknown architecture {name!r}; known are: {', '.join(names())}")
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ArchitectureError(f"{name}: num_classes must be a positive integer, not {num_classes!r}")
    try:
        if name == "small_resnet":
            return SmallResNet(num_classes, **arguments)
        known = RESNET_ARGUMENTS if family_of(name) is RESNETS else frozenset()
        if unknown := sorted(arguments.keys() - known):
            raise ArchitectureError(f"{name}: unknown arguments {unknown}; known are {sorted(known)}")
        for argument in arguments.keys() & {"groups", "width_per_group"}:
            if not _counts(arguments[argument], MOST):
                value = arguments[argument]
                raise ArchitectureError(f"{name}: {argument} must be an integer from 1 to {MOST}, not {value!r}")
        network: nn.Module = get_model_builder(name)(weights=None, num_classes=num_classes, **arguments)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ArchitectureError(f"{name}: arguments {arguments} are refused: {error}") from error
    return network


def _counts(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def trunk(name: str, module: nn.Module) -> nn.Sequential:
    """Everything of the network of this name before the pooling, sharing its parameters.

    Maps pictures float [N, 3, H, W], already normalised, to maps float [N, D, h, w], >= 0.
    """
    family = family_of(name)
    stages = OrderedDict((stage, module.get_submodule(stage)) for stage in family.stages)
    if not family.ends_in_relu:
        stages["last_relu"] = nn.ReLU()
    return nn.Sequential(stages)


def head(name: str, module: nn.Module) -> nn.Linear:
    """The linear layer on ``phi`` of the network of this name."""
    layer = module.get_submodule(family_of(name).head)
    assert isinstance(layer, nn.Linear)
    return layer


def penultimate(maps: torch.Tensor) -> torch.Tensor:
    """Penultimate features ``phi`` float [N, D], >= 0: the mean over positions of maps float [N, D, h, w]."""
    return maps.mean(dim=(2, 3))
