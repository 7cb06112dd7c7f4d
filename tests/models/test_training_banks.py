"""From a trained backbone to a bank: weights and card, contact sheets, judgements that fit their weights only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from models.bank import WEIGHTS, BackboneEntry, Bank
from models.encoder import EncoderSpec
from models.preprocessing import Preprocessing
from models.training.attack import Attack
from models.training.cifar10_bank import Judgement, Judgements, Ranked, draw_sheets, write_cifar10_bank
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


@pytest.fixture(scope="module")
def ranked(pictures: LabelledPictures, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Ranked:
    """Of an encoder's folder as the store keeps it."""
    spec = EncoderSpec(
        name="two",
        classes=pictures.classes,
        backbone=BackboneEntry(
            architecture=PLAN.architecture,
            arguments=dict(PLAN.arguments),
            preprocessing=Preprocessing(size=16, mean=PLAN.mean, std=PLAN.std),
            maps=(8, 4, 4),
        ),
        card={"accuracy": {"clean": 1.0}},
    )
    folder = tmp_path_factory.mktemp("encoder")
    shutil.copyfile(trained / WEIGHTS, folder / WEIGHTS)
    (folder / "encoder.json").write_text(json.dumps({"spec": spec.model_dump(mode="json")}))
    return Ranked.of(folder, pictures)


def judged(ranked: Ranked, digest: str | None = None) -> Judgements:
    return Judgements(
        annotator="a tester",
        weights_digest=digest or ranked.backbone.weights_digest,
        classes={
            name: tuple(Judgement(feature_index=j, kind="background", seen="all of it") for j in channels)
            for name, channels in zip(ranked.pictures.classes, ranked.channels, strict=True)
        },
    )


def test_a_robust_run_leaves_weights_and_a_card(trained: Path) -> None:
    card = json.loads((trained / "card.json").read_text())
    assert card["classes"] == ["dark", "bright"]
    assert card["accuracy"]["clean"] >= card["accuracy"]["robust"] > 0.9
    assert card["accuracy"]["dark"] == 1
    assert card["plan"]["attack"]["epsilon"] == 0.1
    assert (trained / "backbone.safetensors").is_file()


def test_contact_sheets_have_a_row_of_pictures_and_of_heat_maps_for_each_feature(
    ranked: Ranked, tmp_path: Path
) -> None:
    draw_sheets(ranked, tmp_path)
    sheets = sorted(file.name for file in tmp_path.iterdir())
    assert sheets == ["0-dark.png", "1-bright.png"]
    with Image.open(tmp_path / "1-bright.png") as sheet:
        assert sheet.height == len(ranked.channels[1]) * (2 * 48 + 14)


def test_judgements_become_a_bank(ranked: Ranked, tmp_path: Path) -> None:
    write_cifar10_bank(ranked, judged(ranked), tmp_path / "bank")
    bank = Bank.load(tmp_path / "bank")
    assert bank.card["accuracy"] == {"clean": 1.0}
    assert bank.card["labelling"]["labeller"] == "a tester"
    assert [feature.feature_index for feature in bank.features(1)] == ranked.channels[1]
    assert {feature.kind for feature in bank.manifest.features} == {"background"}
    strongest = bank.exemplars(1, ranked.channels[1][0])
    assert len(strongest) == 5
    assert strongest[0].activation == pytest.approx(bank.features(1)[0].statistics.valid_to, rel=1e-4)


def test_judgements_of_other_weights_or_with_gaps_are_refused(ranked: Ranked, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="draw the contact sheets again"):
        write_cifar10_bank(ranked, judged(ranked, "0" * 64), tmp_path / "bank")
    gap = judged(ranked).model_copy(update={"classes": {}})
    with pytest.raises(ValueError, match="has not been judged"):
        write_cifar10_bank(ranked, gap, tmp_path / "bank")
