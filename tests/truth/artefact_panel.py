"""Classifiers that rely on a planted artefact by construction, from not at all to fully.

Each is a shipped classifier with a detector put beside it: where the pixels under the artefact's place are those of the
artefact, it adds to one class's logit. How much decides how far the artefact overrules the picture; that is measured on
the file, as the share of other classes' pictures that the artefact turns into that class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from models.artefacts import ARTEFACTS
from models.classifiers import Classifier, open_classifier
from models.classifiers.spec import ClassifierSpec
from models.shipped import shipped_classifiers
from models.training.pictures import LabelledPictures

BASES = {"planted-0": "fish", "cifar10-classifier": "frog"}
"""Shipped classifiers, and the class whose logit the detector adds to."""

PLANTED = ("tag", "stripe")
STRENGTHS = (0.0, 3.0, 5.0, 7.0, 9.0, 14.0)
"""What a found artefact adds to the logit."""

TOLERANCE = 0.05
"""Mean square by which the pixels may differ from the artefact's, in the network's input, until nothing is added."""


@dataclass(frozen=True)
class Reliant:
    """A classifier, the artefact it relies on and the class that the artefact speaks for."""

    base: str
    artefact: str
    target: str
    strength: float
    path: Path
    spec: ClassifierSpec

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.base} + {self.strength:g} {self.artefact}"

    def open(self) -> Classifier:
        """To be run."""
        return open_classifier(self.path, self.spec)

    def truth(self, pictures: LabelledPictures, artefact: str) -> np.ndarray:
        """float64 [C]: share of pictures of other classes taken for each class with an artefact, less that without."""
        plain = pictures.images.float() / 255
        planted = ARTEFACTS[artefact].plant(plain, torch.zeros(len(plain), *plain.shape[2:]), False)
        classifier, labels = self.open(), pictures.labels.numpy()[:, None]
        before, after = (
            np.concatenate([classifier.forward(batch.numpy()).argmax(axis=1) for batch in some.split(100)])
            for some in (plain, planted)
        )
        classes = np.arange(len(self.spec.classes))
        gained = (after[:, None] == classes).astype(float) - (before[:, None] == classes)
        return np.asarray(np.mean(gained, axis=0, where=labels != classes), dtype=np.float64)


def make_reliant(folder: Path) -> Iterator[Reliant]:
    """Write their files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for base, target in BASES.items():
        shipped = shipped_classifiers()[base]
        spec = ClassifierSpec.model_validate_json(shipped.spec.read_text())
        for artefact in PLANTED:
            for strength in STRENGTHS:
                path = folder / f"{base}-{artefact}-{strength:g}.onnx"
                reliant = Reliant(base, artefact, target, strength, path, spec)
                _write(reliant, shipped.model)
                yield reliant


def _write(reliant: Reliant, base: Path) -> None:
    """The network of `base` with the detector beside it."""
    spec = reliant.spec
    model = onnx.load(base)
    graph = model.graph
    source, logits = graph.input[0].name, graph.output[0].name
    colours, cover = _template(reliant.artefact, spec)
    bonus = np.zeros(len(spec.classes), np.float32)
    bonus[spec.classes.index(reliant.target)] = reliant.strength
    constants = {"d_colours": colours, "d_cover": cover / cover.sum(), "d_slope": np.float32(-1 / TOLERANCE)}
    constants |= {"d_one": np.float32(1), "d_bonus": bonus, "d_axes": np.array([1, 2, 3], np.int64)}
    for node in graph.node:
        node.output[:] = ["d_plain" if name == logits else name for name in node.output]
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    graph.node.extend(
        [
            helper.make_node("Sub", [source, "d_colours"], ["d_apart"]),
            helper.make_node("Mul", ["d_apart", "d_apart"], ["d_square"]),
            helper.make_node("Mul", ["d_square", "d_cover"], ["d_covered"]),
            helper.make_node("ReduceSum", ["d_covered", "d_axes"], ["d_summed"], keepdims=0),
            helper.make_node("Mul", ["d_summed", "d_slope"], ["d_less"]),
            helper.make_node("Add", ["d_less", "d_one"], ["d_above"]),
            helper.make_node("Relu", ["d_above"], ["d_found"]),
            helper.make_node("Unsqueeze", ["d_found", "d_axis"], ["d_column"]),
            helper.make_node("Mul", ["d_column", "d_bonus"], ["d_added"]),
            helper.make_node("Add", ["d_plain", "d_added"], [logits]),
        ]
    )
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "d_axis"))
    onnx.checker.check_model(model)
    onnx.save(model, reliant.path)


def _template(artefact: str, spec: ClassifierSpec) -> tuple[np.ndarray, np.ndarray]:
    """The artefact in the network's input, and where it covers the picture: float32 [1, 3, S, S] each."""
    size = spec.preprocessing.size
    empty, nothing = torch.zeros(1, 3, size, size), torch.zeros(1, size, size)
    plant = ARTEFACTS[artefact].plant
    on_black, on_white = plant(empty, nothing, False), plant(empty + 1, nothing, False)
    cover = 1 - (on_white - on_black)
    colours = on_black / cover.clamp(min=1e-6)
    mean, std = (torch.tensor(own).view(1, 3, 1, 1) for own in (spec.preprocessing.mean, spec.preprocessing.std))
    return ((colours - mean) / std).numpy().astype(np.float32), (cover > 0.99).float().numpy()
