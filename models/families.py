"""Which networks of torchvision end in maps, their mean over positions, and one linear layer on it. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Networks that are put together alike.

    Attributes:
        title: what people call them.
        prefixes: of their names in `models.architectures`.
        stages: the attributes that a picture goes through up to its maps.
        head: the linear layer, as it is called in the state dict.
        sign: what begins the name of a tensor in their state dicts only.
        ends_in_relu: whether the maps are what the last stage gives; else a ReLU follows.
    """

    title: str
    prefixes: tuple[str, ...]
    stages: tuple[str, ...]
    head: str
    sign: str
    ends_in_relu: bool = True


RESNETS = Family(
    "ResNet",
    ("resnet", "resnext", "wide_resnet", "small_resnet"),
    ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "fc",
    "layer4.0.conv1.",
)
FAMILIES = (
    RESNETS,
    Family("DenseNet", ("densenet",), ("features",), "classifier", "features.denseblock4.", ends_in_relu=False),
    Family("MobileNetV2", ("mobilenet_v2",), ("features",), "classifier.1", "features.18."),
    Family(
        "ShuffleNetV2",
        ("shufflenet_v2",),
        ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"),
        "fc",
        "conv5.0.",
    ),
)
"""Not here: RegNet, which torchvision 0.28 cannot build without memory for its weights; MNASNet, whose weights load
with their version only; GoogLeNet with its further heads; and whatever has no non-negative maps (EfficientNet), no mean
over them (VGG) or more layers behind it (MobileNetV3)."""


def family_of(architecture: str) -> Family:
    """The family of a name in `models.architectures`; raises KeyError for one that is not there."""
    for family in FAMILIES:
        if architecture.startswith(family.prefixes):
            return family
    raise KeyError(architecture)
