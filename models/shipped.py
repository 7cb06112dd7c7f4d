"""The ordinary classifiers that come with the package, to try an audit on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PLANTED_FAMILY = Path(__file__).parent / "planted" / "classifiers"
"""Six classifiers of planted pictures, from object-reliant to cue-reliant; ``family.json`` says what was measured."""

CIFAR10 = Path(__file__).parent / "banks" / "cifar10-classifier"
"""One classifier of CIFAR-10 and its card."""


@dataclass(frozen=True)
class ShippedClassifier:
    """An ONNX file and the declaration (``models.classifiers.spec.ClassifierSpec`` as JSON) to upload it with."""

    name: str
    model: Path
    spec: Path


def shipped_classifiers() -> dict[str, ShippedClassifier]:
    """All shipped classifiers by name, in alphabetical order."""
    models = sorted(file for folder in (PLANTED_FAMILY, CIFAR10) for file in folder.glob("*.onnx"))
    return {file.stem: ShippedClassifier(file.stem, file, file.with_suffix(".spec.json")) for file in models}
