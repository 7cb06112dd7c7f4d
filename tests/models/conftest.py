"""A small random network and the bank around it, for tests of behaviour that needs no trained weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models import architectures
from models.bank import BackboneEntry, Bank, Feature, Manifest, Statistics, Votes
from models.bank_writing import write_bank
from models.geometry import Preprocessing

ARGUMENTS = {"blocks": [1, 1, 1, 1], "widths": [8, 8, 16, 24], "strides": [1, 2, 2, 1], "stem_stride": 2}
PREPROCESSING = Preprocessing(size=96, resize=104, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.25))
CLASSES = ("ant", "bee", "cat", "dog", "eel")


def labelled(class_index: int, feature_index: int, rank: int, core: bool, valid_from: float = 0.0) -> Feature:
    return Feature(
        class_index=class_index,
        feature_index=feature_index,
        rank=rank,
        importance=1.0 / rank,
        label="core" if core else "spurious",
        kind="main_object" if core else "background",
        votes=Votes(main_object=5) if core else Votes(background=4, main_object=1),
        statistics=Statistics(images=10, mean=0.2, std=0.1, valid_from=valid_from, valid_to=2.0),
    )


def manifest(**changes: object) -> Manifest:
    """Two core and one or two spurious features for every class but the last, which has none."""
    features = [labelled(c, 5 * c + k, k + 1, core=k < 2) for c in range(len(CLASSES) - 1) for k in range(3 + c % 2)]
    stated = {
        "name": "tiny",
        "title": "A random network",
        "licence": "Apache-2.0",
        "labeller": "nobody (random)",
        "classes": CLASSES,
        "backbone": BackboneEntry(
            architecture="small_resnet", arguments=ARGUMENTS, preprocessing=PREPROCESSING, maps=(24, 12, 12)
        ),
        "features": tuple(features),
    }
    return Manifest.model_validate(stated | changes)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = architectures.build("small_resnet", len(CLASSES), ARGUMENTS)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def bank(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return write_bank(tmp_path_factory.mktemp("banks") / "tiny", manifest(), weights)


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Four pictures, uint8 [H, W, 3], of four shapes."""
    generator = np.random.default_rng(0)
    return [
        generator.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((96, 96), (120, 200), (300, 110), (97, 98))
    ]
