"""The shipped banks and classifiers: whole, small enough, and as good as their cards say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from models.backbone import Backbone
from models.bank import Bank
from models.bank_card import read_provenance
from models.bank_folders import BUILT_IN
from models.bank_votes import read_votes
from models.classifiers import inspect_file, open_classifier
from models.classifiers.spec import ClassifierSpec
from models.planted.rendering import Picture, render
from models.planted.scenes import BACKGROUND_CUES, CLASSES, PROP_CUES, draw_scenes
from models.shipped import CIFAR10, PLANTED_FAMILY, shipped_classifiers
from models.training import recipes
from models.training.overlap import agreement
from models.training.planted_bank import AGREEMENT
from models.training.precision import mask_precision
from models.training.reliance import Interventions, measure_reliance

MEGABYTE = 1_000_000
UNSEEN_SEED = 4711
"""Neither trained on, nor labelled with, nor judged with when the cards were written."""

FAMILY = [f"planted-{index}" for index in range(6)]


@pytest.fixture(scope="module")
def planted() -> Bank:
    return Bank.load(BUILT_IN / "planted")


@pytest.fixture(scope="module")
def cifar10() -> Bank:
    return Bank.load(BUILT_IN / "cifar10")


@pytest.fixture(scope="module")
def unseen() -> list[Picture]:
    scenes = draw_scenes(80, UNSEEN_SEED, recipes.PLANTED_TEST_RATES)
    return [render(scene.with_own_cues()) for scene in scenes]


@pytest.fixture(scope="module")
def backbone(planted: Bank) -> Backbone:
    return planted.backbone(runtime="torch", precision="fp32", device="cpu")


@pytest.mark.parametrize(("name", "side", "megabytes", "most"), [("planted", 12, 10, 16), ("cifar10", 8, 10, 15)])
def test_banks_are_whole_and_as_small_as_promised(name: str, side: int, megabytes: int, most: int) -> None:
    bank = Bank.load(BUILT_IN / name)
    assert min(bank.manifest.backbone.maps[1:]) >= side
    assert (bank.path / "backbone.safetensors").stat().st_size < megabytes * MEGABYTE
    assert bank.labelled_classes == tuple(range(10))
    for index in range(10):
        assert 3 <= len(bank.features(index)) <= most
        ranks = [feature.rank for feature in bank.features(index)]
        weights = [feature.importance for feature in bank.features(index)]
        assert max(ranks) <= most
        assert weights == sorted(weights, reverse=True)


def test_the_planted_card_has_its_accuracies(planted: Bank) -> None:
    accuracy = planted.card["accuracy"]
    assert accuracy["clean"] > 0.9
    assert accuracy["robust"] > 0.8
    assert accuracy["cue_free"] > 0.9
    assert accuracy["cues_swapped"] < accuracy["clean"] - 0.3
    assert accuracy["robust"] <= accuracy["clean"]


def test_the_planted_backbone_is_as_accurate_as_its_card_says(
    planted: Bank, backbone: Backbone, unseen: list[Picture]
) -> None:
    images = torch.stack([torch.from_numpy(picture.image.transpose(2, 0, 1).copy()) for picture in unseen])
    labels = torch.tensor([CLASSES.index(picture.scene.label) for picture in unseen])
    found = float((backbone.forward(images).logits.argmax(1) == labels).float().mean())
    assert found == pytest.approx(planted.card["accuracy"]["clean"], abs=0.08)


def test_planted_labels_follow_from_the_votes_of_exact_masks(planted: Bank) -> None:
    assert "exact-mask" in planted.manifest.labeller
    for feature in planted.manifest.features:
        spurious = feature.votes.background + feature.votes.separate_object
        assert (feature.label == "spurious") == (spurious > feature.votes.main_object)
        assert agreement(feature.votes) >= AGREEMENT
    for exemplar in planted.manifest.exemplars:
        assert exemplar.picture is not None
        assert (planted.path / exemplar.picture).is_file()
        assert exemplar.sample.split("/")[1].startswith(f"{recipes.PLANTED_LABELLING_SEED}-")


def test_planted_masks_find_cues_and_objects_they_were_not_labelled_on(
    planted: Bank, backbone: Backbone, unseen: list[Picture]
) -> None:
    features = {index: planted.features(index) for index in planted.labelled_classes}
    found = mask_precision(backbone, features, unseen)
    stated = planted.card["mask_average_precision"]
    assert stated["seed"] not in {recipes.PLANTED_LABELLING_SEED, recipes.PLANTED_SEED}
    for kind in ("spurious", "core"):
        rows, expected = list(found[kind].values()), list(stated[kind].values())
        mean = np.mean([row["mask"] for row in rows])
        assert mean == pytest.approx(np.mean([row["mask"] for row in expected]), abs=0.06)
        assert mean > np.mean([row["all_ones"] for row in rows]) + 0.15
    assert set(stated["spurious"]) == BACKGROUND_CUES.keys() | PROP_CUES.keys()


def test_the_cifar10_bank_says_how_it_was_made_and_how_far_it_goes(cifar10: Bank) -> None:
    assert cifar10.classes == tuple(
        "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
    )
    accuracy = cifar10.card["encoder"]["card"]["accuracy"]
    assert accuracy["clean_pictures"] == 10_000
    assert accuracy["clean"] > 0.8
    assert accuracy["robust"] > 0.6
    provenance = read_provenance(cifar10.card)
    assert provenance.annotators == 1
    assert provenance.validated is not None
    assert provenance.validated["judged"] == len(cifar10.manifest.features) == 150
    votes = read_votes(cifar10)
    assert votes is not None
    assert all(answer.reason for answer in votes.answers)
    assert "no second opinion" in cifar10.card["notes"]
    assert "AI model" in cifar10.card["notes"], "who labelled is said"
    spurious = [feature for feature in cifar10.manifest.features if feature.label == "spurious"]
    for feature in spurious:
        named = rf"\({cifar10.classes[feature.class_index]}, {feature.feature_index}[,)]"
        assert re.search(named, cifar10.card["notes"]), "in words, what it is"
    without = {*cifar10.classes} - {cifar10.classes[feature.class_index] for feature in spurious}
    assert without == {"automobile", "horse", "truck"}
    assert "automobile, horse and truck" in cifar10.card["notes"]
    assert all(exemplar.picture is None for exemplar in cifar10.manifest.exemplars), "they may not be passed on"


@pytest.mark.parametrize("name", [*FAMILY, "cifar10-classifier"])
def test_shipped_classifiers_can_be_uploaded_as_they_are(name: str) -> None:
    shipped = shipped_classifiers()[name]
    spec = ClassifierSpec.model_validate_json(shipped.spec.read_text())
    inspect_file(shipped.model, spec)
    assert shipped.model.stat().st_size < (1.5 if name in FAMILY else 3) * MEGABYTE
    side = spec.preprocessing.size
    classifier = open_classifier(shipped.model, spec)
    assert classifier.forward(np.full((3, 3, side, side), 0.5, dtype=np.float32)).shape == (3, 10)


def test_the_family_goes_from_object_reliant_to_cue_reliant() -> None:
    members = json.loads((PLANTED_FAMILY / "family.json").read_text())["members"]
    reliance = [member["reliance"] for member in members]
    assert [member["name"] for member in members] == FAMILY
    assert reliance == sorted(reliance)
    assert abs(reliance[0]) < 0.05
    assert reliance[-1] > 0.5
    assert all(member["own_cues"] > 0.9 for member in members)


@pytest.mark.parametrize("name", [FAMILY[0], FAMILY[-1]])
def test_the_measured_reliance_holds_on_unseen_pictures(name: str) -> None:
    members = {m["name"]: m for m in json.loads((PLANTED_FAMILY / "family.json").read_text())["members"]}
    shipped = shipped_classifiers()[name]
    spec = ClassifierSpec.model_validate_json(shipped.spec.read_text())
    interventions = Interventions.of(draw_scenes(60, UNSEEN_SEED, recipes.PLANTED_TEST_RATES))
    found = measure_reliance(open_classifier(shipped.model, spec), interventions)
    assert found["reliance"] == pytest.approx(members[name]["reliance"], abs=0.15)


def test_the_cifar10_classifier_has_a_card() -> None:
    card = json.loads((CIFAR10 / "card.json").read_text())
    assert card["accuracy"]["clean"] > 0.8
    assert card["accuracy"]["pictures"] == 10_000


@pytest.mark.parametrize("folder", [BUILT_IN, PLANTED_FAMILY])
def test_nothing_shipped_says_where_its_maker_keeps_files(folder: Path) -> None:
    for file in folder.rglob("*.json"):
        assert not re.findall(r"(?<![\w.])/(?:[\w-]+/)+", file.read_text())
    for graph in folder.rglob("*.onnx"):  # torch notes the lines of code that each node comes from
        assert not re.findall(rb"/[\w./-]+\.py", graph.read_bytes())
