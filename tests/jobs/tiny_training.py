"""A training that takes seconds: a small network, small pictures, and classes that differ in their brightness."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.training_request import TrainingRequest

NETWORK = {"widths": [4, 4, 8, 8], "strides": [1, 2, 1, 1]}


def bright_and_dark(path: Path, per_class: int = 40, names: tuple[str, ...] = ("bright", "dark")) -> Path:
    """A zip of 16-pixel pictures whose classes differ in their brightness, with one broken picture."""
    draw = np.random.default_rng(3)
    with zipfile.ZipFile(path, "w") as target:
        for index, name in enumerate(names):
            for number in range(per_class):
                pixels = draw.integers(0, 100, (16, 16, 3)) + 150 * (index == 0)
                stream = io.BytesIO()
                Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
                target.writestr(f"{name}/{number:03d}.png", stream.getvalue())
        target.writestr(f"{names[0]}/broken.png", b"\x89PNG\r\n\x1a\n broken")
    return path


def request(dataset: str, **changes: object) -> TrainingRequest:
    """A training on such pictures."""
    fields: dict[str, object] = {
        "dataset": dataset,
        "held_out": 0.2,
        "name": "light",
        "architecture": "small_resnet",
        "arguments": NETWORK,
        "size": 16,
        "epsilon": 0.2,
        "steps": 1,
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 0.05,
        "averaging": 0.5,
        "precision": "fp32",
    }
    return TrainingRequest.model_validate(fields | changes)
