"""What a run of robust training leaves behind: weights and a card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models.training.attack import Attack
from models.training.pictures import LabelledPictures
from models.training.plan import Plan
from models.training.robust import train_robust

PLAN = Plan(
    architecture="small_resnet",
    arguments={"widths": [4, 4, 8, 8], "strides": [1, 2, 1, 1]},
    epochs=3,
    mean=(0.5, 0.5, 0.5),
    std=(0.3, 0.3, 0.3),
    attack=Attack(0.1, 1, 0.1),
    batch_size=16,
    learning_rate=0.05,
    averaging=0.5,
    precision="fp32",
)


@pytest.fixture(scope="module")
def pictures() -> LabelledPictures:
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(64) % 2
    images = torch.randint(0, 100, (64, 3, 16, 16), generator=draw) + 150 * labels.view(-1, 1, 1, 1)
    return LabelledPictures(images.to(torch.uint8), labels, ("dark", "bright"), tuple(f"p/{i}" for i in range(64)))


@pytest.fixture(scope="module")
def trained(pictures: LabelledPictures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_robust(PLAN, pictures, pictures, folder, torch.device("cpu"), others={"dark": pictures.subset([0, 2, 4])})
    return folder


def test_a_robust_run_leaves_weights_and_a_card(trained: Path) -> None:
    card = json.loads((trained / "card.json").read_text())
    assert card["classes"] == ["dark", "bright"]
    assert card["accuracy"]["clean"] >= card["accuracy"]["robust"] > 0.9
    assert card["accuracy"]["dark"] == 1
    assert card["plan"]["attack"]["epsilon"] == 0.1
    assert (trained / "backbone.safetensors").is_file()
