"""Train an ordinary classifier, to be audited, and write it as ONNX with the declaration an upload needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.classifiers import Classifier, open_classifier
from models.classifiers.spec import ClassifierSpec
from models.preprocessing import Preprocessing
from models.training.loop import train
from models.training.onnx_export import export_onnx
from models.training.pictures import LabelledPictures
from models.training.plan import Plan

BATCH = 250


def train_classifier(
    plan: Plan, training: LabelledPictures, name: str, out: Path, work: Path, device: torch.device
) -> tuple[Classifier, float]:
    """Write ``<name>.onnx`` and its ``<name>.spec.json`` into ``out``; checkpoints go to ``work``.

    Returns the written file, opened as an audit opens it, and the minutes of training.
    """
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    trained = train(plan, training, work / f"{name}.checkpoint.pt", device)
    side = training.images.shape[-1]
    export_onnx(trained.network, side, out / f"{name}.onnx")
    spec = ClassifierSpec(
        format="onnx",
        classes=training.classes,
        preprocessing=Preprocessing(size=side, mean=plan.mean, std=plan.std),
        name=name,
        version="1",
    )
    (out / f"{name}.spec.json").write_text(spec.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8")
    return open_classifier(out / f"{name}.onnx", spec, threads=torch.get_num_threads()), trained.minutes


def right(classifier: Classifier, pictures: LabelledPictures) -> np.ndarray:
    """bool [N]: which pictures the classifier gives their label."""
    predicted = [
        classifier.forward((batch.float() / 255).numpy()).argmax(axis=1) for batch in pictures.images.split(BATCH)
    ]
    return np.concatenate(predicted) == pictures.labels.numpy()
