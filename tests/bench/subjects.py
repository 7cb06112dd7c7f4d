"""What is measured: a ResNet-50 bank and classifier of the size users have. Weights are random; time is not."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import models.torchvision_ops  # noqa: F401  isort: skip  (before torchvision, see there)
import numpy as np
import torch
from safetensors.torch import save_file
from torchvision.models import resnet50

from jobs.pictures import decode
from models.bank import BackboneEntry, Bank, Feature, Manifest, Statistics, Votes
from models.bank_writing import write_bank
from models.classifiers.spec import ClassifierSpec
from models.preprocessing import Preprocessing
from models.training.onnx_export import export_onnx

IMAGENET = Preprocessing(size=224, resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
REPOSITORY = Path(__file__).parents[2]


def archive(name: str) -> Path:
    """A zip of real pictures. Raises FileNotFoundError where they are absent."""
    folder = Path(os.environ.get("CUECHECK_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"benchmarks need {path}; set CUECHECK_TEST_DATA to the folder of real pictures")
    return path


def photographs(count: int) -> list[tuple[str, bytes]]:
    """(class, JPEG bytes) of the first `count` photographs of real sizes, in the archive's order."""
    with zipfile.ZipFile(archive("imagenet-samples.zip")) as pictures:
        names = [name for name in pictures.namelist() if not name.endswith("/")][:count]
        return [(name.split("/")[-2], pictures.read(name)) for name in names]


def photograph_classes() -> tuple[str, ...]:
    """The classes of the photographs, one picture each, in the archive's order."""
    return tuple(name for name, _ in photographs(1000))


def decoded(count: int) -> list[np.ndarray]:
    """The same photographs as uint8 [H, W, 3]."""
    return [decode(content) for _, content in photographs(count)]


def resnet50_bank(folder: Path, classes: tuple[str, ...]) -> Bank:
    """A ResNet-50 of random weights, five labelled features per class (three core, two spurious)."""
    path = folder / "resnet50"
    if (path / "manifest.json").is_file():
        return Bank.load(path)
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    network = resnet50(weights=None, num_classes=len(classes))
    weights = folder / "resnet50.safetensors"
    save_file(network.state_dict(), weights)
    features = tuple(
        Feature(
            class_index=c,
            feature_index=(5 * c + k) % 2048,
            rank=k + 1,
            importance=1 / (k + 1),
            label="core" if k < 3 else "spurious",
            kind="main_object" if k < 3 else "background",
            votes=Votes(main_object=5) if k < 3 else Votes(background=5),
            statistics=Statistics(images=1, mean=0.5, std=0.2, valid_from=0.0, valid_to=10.0),
        )
        for c in range(len(classes))
        for k in range(5)
    )
    stated = Manifest(
        name="resnet50",
        title="ResNet-50 of random weights, for timing only",
        licence="Apache-2.0",
        labeller="nobody (random)",
        classes=classes,
        backbone=BackboneEntry(architecture="resnet50", preprocessing=IMAGENET, maps=(2048, 7, 7)),
        features=features,
    )
    return write_bank(path, stated, weights)


def resnet50_classifier(folder: Path, classes: tuple[str, ...]) -> tuple[Path, ClassifierSpec]:
    """A ResNet-50 of random weights as an ONNX file, and what its owner declares."""
    path = folder / "classifier.onnx"
    if not path.is_file():
        torch.manual_seed(1)
        folder.mkdir(parents=True, exist_ok=True)
        export_onnx(resnet50(weights=None, num_classes=len(classes)), IMAGENET.size, path)
    return path, ClassifierSpec(format="onnx", classes=classes, preprocessing=IMAGENET)
