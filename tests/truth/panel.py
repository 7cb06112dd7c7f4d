"""Classifiers of planted pictures whose reliance on each kind of cue is known by intervention.

Trained: networks that see cues as the label's only sign, networks that see none, both also on noisy pictures. Composed:
the log-probabilities of two of them, weighed; so reliance goes from none to full in steps, for backgrounds (large) and
props (small) apart, and below zero where the cue speaks *against* its class. Whatever a member was made of, its true
reliance is measured on the file itself, with exact masks and swapped cues. Some are surer or less sure of the same
answers: what they rely on is the same, so a measure that moves with it measures something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper

from models.classifiers.spec import ClassifierSpec
from models.planted.randomness import Randomness
from models.planted.scenes import (
    BACKGROUND_CUES,
    CLASSES,
    NEUTRAL_BACKGROUNDS,
    PROP_CUES,
    Rates,
    Scene,
    draw_scenes,
)
from models.shipped import PLANTED_FAMILY
from models.training import recipes
from models.training.classifier import train_classifier
from models.training.pictures import LabelledPictures
from models.training.planted_pictures import draw_pictures

PICTURES, EPOCHS = 2000, 6
NOISE = 0.25
"""Standard deviation, on pixels in [0, 1], of what some members are trained with."""


@dataclass(frozen=True)
class Trained:
    """A network and the pictures it is trained on."""

    name: str
    scenes: Callable[[], Sequence[Scene]]
    seed: int
    noisy: bool = False


@dataclass(frozen=True)
class Mixture:
    """(1 - weight) times the log-probabilities of one member and `weight` times those of another."""

    name: str
    first: str
    second: str
    weight: float


@dataclass(frozen=True)
class Tempered:
    """Another member's logits times a factor: the same answers, given more surely (above 1) or less."""

    name: str
    of: str
    factor: float


def cue_scenes(kind: str, count: int, seed: int) -> list[Scene]:
    """Pictures whose label one kind of cue tells, "background" or "prop", and nothing else does."""
    scenes = []
    for index in range(count):
        label = CLASSES[index % len(CLASSES)]
        stream = Randomness(seed, index, "cue alone", kind)
        background = stream.pick([*BACKGROUND_CUES.values(), *NEUTRAL_BACKGROUNDS])
        prop = stream.pick([*PROP_CUES.values(), None, None])
        if kind == "background":
            background = BACKGROUND_CUES.get(label) or stream.pick(NEUTRAL_BACKGROUNDS)
        else:
            prop = PROP_CUES.get(label)
        scenes.append(Scene(label, seed, index, background, prop, stream.pick(CLASSES)))
    return scenes


def _object_scenes(seed: int) -> Callable[[], Sequence[Scene]]:
    return lambda: draw_scenes(PICTURES, seed, Rates(rho=0.05, stray=0.05))


TRAINED = (
    Trained("background-alone", lambda: cue_scenes("background", PICTURES, 31), 31),
    Trained("prop-alone", lambda: cue_scenes("prop", PICTURES, 32), 32),
    Trained("object-a", _object_scenes(33), 33),
    Trained("object-b", _object_scenes(34), 34),
    Trained("object-noise", _object_scenes(35), 35, noisy=True),
    Trained("cues-noise", lambda: draw_scenes(PICTURES, 36, Rates(rho=1.0, stray=0.05, shuffled=0.3)), 36, noisy=True),
)
MIXTURES = (
    *(Mixture(f"background-{w}", "planted-0", "background-alone", w / 100) for w in (35, 43, 47, 52, 65)),
    *(Mixture(f"prop-{w}", "planted-0", "prop-alone", w / 100) for w in (35, 43, 50, 57, 70)),
    Mixture("both-40", "background-47", "prop-alone", 0.4),
    Mixture("both-60", "background-65", "prop-alone", 0.6),
    Mixture("against-background", "planted-0", "background-alone", -0.7),
    Mixture("against-prop", "planted-0", "prop-alone", -0.7),
    Mixture("objects", "object-a", "object-b", 0.5),
)
"""In an order in which every one is made of those before it."""

TEMPERED = (
    Tempered("planted-0-surer", "planted-0", 3.0),
    Tempered("object-b-surer", "object-b", 3.0),
    Tempered("planted-4-less-sure", "planted-4", 0.3),
    Tempered("background-65-less-sure", "background-65", 0.3),
)

FAMILY = tuple(f"planted-{number}" for number in range(6))


def make_panel(folder: Path) -> Mapping[str, tuple[Path, ClassifierSpec]]:
    """Train and compose what is not there yet; ONNX files and declarations, by name.

    Args:
        folder: takes checkpoints, drawn pictures and ONNX files; what is in it is not made again.
    """
    for member in TRAINED:
        if not (folder / f"{member.name}.spec.json").exists():
            _train(member, folder)
    for mixture in MIXTURES:
        if not (folder / f"{mixture.name}.onnx").exists():
            _mix(mixture, folder)
    for tempered in TEMPERED:
        if not (folder / f"{tempered.name}.onnx").exists():
            _temper(tempered, folder)
    names = [*FAMILY, *(own.name for own in (*TRAINED, *MIXTURES, *TEMPERED))]
    return {name: (_file(folder, name), _declared(folder, name)) for name in names}


def _train(member: Trained, folder: Path) -> None:
    plan = replace(recipes.PLANTED_CLASSIFIER, epochs=EPOCHS, seed=member.seed)
    pictures = draw_pictures(member.scenes(), folder / "pictures")
    if member.noisy:
        pictures = _with_noise(pictures, member.seed)
    train_classifier(plan, pictures, member.name, folder, folder / "checkpoints", torch.device("cpu"))


def _with_noise(pictures: LabelledPictures, seed: int) -> LabelledPictures:
    """Half of the pictures with noise, each of a strength of its own up to `NOISE`."""
    generator = torch.Generator().manual_seed(seed)
    images = pictures.images.clone()
    for image, strength in zip(images, torch.rand(len(images), generator=generator) * 2 * NOISE - NOISE, strict=True):
        draws = torch.randn(image.shape, generator=generator)
        image.copy_((image + 255 * strength.clamp(min=0) * draws).clamp(0, 255).round().to(torch.uint8))
    return replace(pictures, images=images)


def _mix(mixture: Mixture, folder: Path) -> None:
    """Both networks in one graph on the same input, their log-probabilities weighed."""
    first, second = (
        compose.add_prefix(onnx.load(_file(folder, name)), prefix)
        for name, prefix in ((mixture.first, "a_"), (mixture.second, "b_"))
    )
    weights = (1 - mixture.weight, mixture.weight) if mixture.weight >= 0 else (1.0, mixture.weight)
    nodes = [
        *(helper.make_node("Identity", ["images"], [f"{prefix}images"]) for prefix in ("a_", "b_")),
        *first.graph.node,
        *second.graph.node,
        *(helper.make_node("LogSoftmax", [f"{p}logits"], [f"{p}log"], axis=1) for p in ("a_", "b_")),
        helper.make_node("Mul", ["a_log", "a_weight"], ["a_part"]),
        helper.make_node("Mul", ["b_log", "b_weight"], ["b_part"]),
        helper.make_node("Add", ["a_part", "b_part"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(w), name) for name, w in zip(("a_weight", "b_weight"), weights, strict=True)
    ]
    side = _side(first)
    graph = helper.make_graph(
        nodes,
        mixture.name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(CLASSES)])],
        [*first.graph.initializer, *second.graph.initializer, *constants],
    )
    model = helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version)
    onnx.checker.check_model(model)
    onnx.save(model, folder / f"{mixture.name}.onnx")


def _temper(tempered: Tempered, folder: Path) -> None:
    model = onnx.load(_file(folder, tempered.of))
    logits = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["plain_logits" if name == logits else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(tempered.factor), "factor"))
    model.graph.node.append(helper.make_node("Mul", ["plain_logits", "factor"], [logits]))
    onnx.checker.check_model(model)
    onnx.save(model, folder / f"{tempered.name}.onnx")


def _side(model: onnx.ModelProto) -> int:
    """Pixels along a side of a network's input."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[3].dim_value)


def _file(folder: Path, name: str) -> Path:
    return (PLANTED_FAMILY if name in FAMILY else folder) / f"{name}.onnx"


def _declared(folder: Path, name: str) -> ClassifierSpec:
    """All members take the same input as the family does."""
    spec = ClassifierSpec.model_validate_json((PLANTED_FAMILY / "planted-0.spec.json").read_text())
    return spec.model_copy(update={"name": name})
