"""Banks from released labels: their rows state what the encoder does on the pictures, and misfits are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.archives import ArchiveLimits
from jobs.component_import import import_components
from jobs.datasets import get_pictures, import_archive
from jobs.encoders import import_encoder, load_encoder
from jobs.errors import Conflict, Invalid, NotFound
from jobs.label_import import Wanted
from jobs.pictures import decode
from jobs.salient_import import import_salient
from jobs.settings import Settings
from jobs.store import Store
from jobs.subjects import find_bank
from models.bank import WEIGHTS, Bank
from models.bank_folders import find_banks
from models.bank_votes import read_votes
from models.encoder import EncoderSpec
from models.errors import BankError, LabelsError
from models.geometry import prepare
from models.planted.archive import write_archive
from tests.jobs.test_datasets import zipped
from tests.models import salient_csv
from tests.models.salient_csv import Row, pair_rows

PER_CLASS = 12
VOTES = {
    "main_object": (4, 0, 1),
    "background": (1, 0, 4),
    "separate_object": (0, 5, 0),
    "ambiguous": (1, 2, 2),
}


@dataclasses.dataclass
class Place:
    """An installation with a planted data set, and what its encoder, the planted bank's, does on it."""

    settings: Settings
    store: Store
    wanted: Wanted
    planted: Bank
    phi: torch.Tensor
    predicted: torch.Tensor
    labels: np.ndarray
    weight: torch.Tensor
    bias: torch.Tensor
    steps: list[tuple[int, int]]

    def progress(self, done: int, total: int) -> None:
        self.steps.append((done, total))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "planted.zip"
    write_archive(path, PER_CLASS, 5)
    return path


@pytest.fixture
def place(tmp_path: Path, archive: Path) -> Place:
    settings = Settings(data_dir=tmp_path / "data", device="cpu", threads=1, runtime="torch")
    store = Store.from_settings(settings)
    copy = tmp_path / "planted.zip"
    copy.write_bytes(archive.read_bytes())
    dataset = import_archive(store, copy, ArchiveLimits.from_settings(settings), "planted")
    backbone = load_encoder(store, "bank:planted", settings)
    opened = get_pictures(store, dataset.id)
    contents = [sample.content for sample in opened.read(range(dataset.pictures))]
    inputs = torch.stack([prepare(decode(content), backbone.preprocessing) for content in contents])
    features = backbone.forward(inputs)
    return Place(
        settings=settings,
        store=store,
        wanted=Wanted(name="imported", encoder="bank:planted", dataset=dataset.id, class_map={}),
        planted=find_bank(settings, "planted"),
        phi=features.phi,
        predicted=features.logits.argmax(dim=1),
        labels=opened.labels,
        weight=backbone.weight,
        bias=backbone.bias,
        steps=[],
    )


def answers(planted: Bank) -> list[Row]:
    """Answers that give the planted bank's own labels to the five most important features of each class."""
    return [
        row
        for index in range(len(planted.classes))
        for rank, feature in enumerate(planted.features(index)[:5], start=1)
        for row in pair_rows(index, feature.feature_index, rank, VOTES[feature.kind])
    ]


def written(path: Path, rows: list[Row]) -> Path:
    return salient_csv.write(path / "answers.csv", rows)


# --- Salient ImageNet


def test_rows_state_the_votes_and_what_the_features_do(place: Place, tmp_path: Path) -> None:
    csv = written(tmp_path, answers(place.planted))
    found = import_salient(place.store, place.settings, csv, place.wanted, place.progress)
    bank = find_bank(place.settings, "imported")
    assert bank.digest == found.bank.digest
    assert bank.manifest.grouping == "predicted"
    assert (bank.manifest.version, bank.card["provenance"]["threshold"]) == (1, 3)
    votes = read_votes(bank)
    assert votes is not None
    assert len(votes.answers) == 5 * len(bank.manifest.features)
    for row in bank.manifest.features:
        own = next(f for f in place.planted.features(row.class_index) if f.feature_index == row.feature_index)
        assert (row.label, row.kind) == (own.label, own.kind)
        assert sum(row.votes.model_dump().values()) == 5
        group = place.phi[place.predicted == row.class_index, row.feature_index]
        assert row.statistics.images == len(group)
        assert row.statistics.mean == pytest.approx(float(group.mean()), rel=1e-4, abs=1e-6)
        assert row.statistics.valid_from == pytest.approx(float(group.quantile(0.8)), rel=1e-4, abs=1e-6)
        weight = float(place.weight[row.class_index, row.feature_index])
        assert row.importance == pytest.approx(float(group.mean()) * weight, abs=2e-4)
    assert len(bank.manifest.features) == 5 * len(set(place.predicted.tolist()))
    assert place.steps[-1] == (120, 120)
    assert found.fit.verdict == "fits"
    assert bank.card["source"]["counts"]["pairs"] == 50
    assert "no passing on" in bank.manifest.licence


def test_of_the_file_only_votes_are_kept_and_neither_names_nor_words(place: Place, tmp_path: Path) -> None:
    rows = answers(place.planted)
    for row in rows:
        row["Answer.reasons"], row["WorkerId"] = "a reason of somebody", f"worker{row['WorkerId']}"
    bank = import_salient(place.store, place.settings, written(tmp_path, rows), place.wanted, place.progress).bank
    text = "".join((bank.path / name).read_text() for name in ("manifest.json", "votes.json"))
    assert "somebody" not in text
    assert "worker0" not in text


def test_a_threshold_and_a_grouping_can_be_chosen(place: Place, tmp_path: Path) -> None:
    csv = written(tmp_path, answers(place.planted))
    bank = import_salient(
        place.store, place.settings, csv, place.wanted, place.progress, threshold=5, grouping="label"
    ).bank
    assert {row.kind for row in bank.manifest.features if row.label == "spurious"} <= {"separate_object"}
    assert {row.statistics.images for row in bank.manifest.features} == {PER_CLASS}


def test_of_each_class_so_many_pictures_are_looked_at(place: Place, tmp_path: Path) -> None:
    csv = written(tmp_path, answers(place.planted))
    wanted = dataclasses.replace(place.wanted, per_class=4)
    bank = import_salient(place.store, place.settings, csv, wanted, place.progress, grouping="label").bank
    assert {row.statistics.images for row in bank.manifest.features} == {4}
    assert place.steps[-1] == (40, 40)


def test_folders_named_by_wordnet_id_are_the_classes_of_those_ids(place: Place, tmp_path: Path) -> None:
    content = {}
    for sample in get_pictures(place.store, place.wanted.dataset).read(range(len(place.labels))):
        content[f"n{10_000_000 + sample.label}/{sample.row}.png"] = sample.content
    upload = zipped(tmp_path / "ids.zip", content)
    limits = ArchiveLimits.from_settings(place.settings)
    dataset = import_archive(place.store, upload, limits, "ids")
    csv = written(tmp_path, answers(place.planted))
    by_name = import_salient(place.store, place.settings, csv, place.wanted, place.progress).bank
    wanted = dataclasses.replace(place.wanted, dataset=dataset.id, name="by-id")
    by_id = import_salient(place.store, place.settings, csv, wanted, place.progress).bank
    assert by_id.manifest.features == by_name.manifest.features


def test_labels_of_another_checkpoint_are_refused_and_nothing_is_written(place: Place, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(96)
    rows = [
        row | {"Input.feature_index": str(order[int(row["Input.feature_index"])])} for row in answers(place.planted)
    ]
    with pytest.raises(BankError, match=r"another checkpoint: mean position 0\.\d+ of 50 labelled weights"):
        import_salient(place.store, place.settings, written(tmp_path, rows), place.wanted, place.progress)
    rows = [
        row | {"Input.class_index": str((int(row["Input.class_index"]) + 1) % 10)} for row in answers(place.planted)
    ]
    with pytest.raises(BankError, match="another checkpoint"):
        import_salient(place.store, place.settings, written(tmp_path, rows), place.wanted, place.progress)
    assert place.steps == []
    assert "imported" not in find_banks(place.settings.banks_dir)


@pytest.mark.parametrize("catalogue", ["transfer-resnet50-l2-3", "robust-resnet50-l2-3", None])
def test_an_encoder_known_as_another_network_is_refused_whatever_its_weights(
    place: Place, tmp_path: Path, catalogue: str | None
) -> None:
    manifest = place.planted.manifest
    spec = EncoderSpec(name="planted", classes=manifest.classes, backbone=manifest.backbone)
    encoder = import_encoder(place.store, place.planted.path / WEIGHTS, spec, place.settings, catalogue=catalogue)
    wanted = dataclasses.replace(place.wanted, encoder=encoder.id)
    csv = written(tmp_path, answers(place.planted))
    if catalogue == "transfer-resnet50-l2-3":
        with pytest.raises(BankError, match="another checkpoint than 'transfer-resnet50-l2-3'"):
            import_salient(place.store, place.settings, csv, wanted, place.progress)
        return
    bank = import_salient(place.store, place.settings, csv, wanted, place.progress).bank
    assert bank.manifest.backbone == manifest.backbone
    assert bank.backbone(runtime="torch").weights_digest == encoder.weights_digest


def test_classes_without_pictures_get_no_rows_and_are_named(place: Place, tmp_path: Path) -> None:
    names = place.planted.classes
    content = {}
    for sample in get_pictures(place.store, place.wanted.dataset).read(range(len(place.labels))):
        if sample.label in (2, 5):
            content[f"{names[sample.label]}/{sample.row}.png"] = sample.content
    dataset = import_archive(
        place.store, zipped(tmp_path / "two.zip", content), ArchiveLimits.from_settings(place.settings), "two"
    )
    wanted = dataclasses.replace(place.wanted, dataset=dataset.id)
    csv = written(tmp_path, answers(place.planted))
    found = import_salient(place.store, place.settings, csv, wanted, place.progress, grouping="both")
    assert {row.class_index for row in found.bank.manifest.features} == {2, 5}
    assert "8 labelled classes have no pictures" in found.warnings[-1]


def test_requests_that_cannot_be_met_are_refused(place: Place, tmp_path: Path) -> None:
    csv = written(tmp_path, answers(place.planted))

    def refused(error: type[Exception], match: str, **changes: object) -> None:
        with pytest.raises(error, match=match):
            import_salient(
                place.store, place.settings, csv, dataclasses.replace(place.wanted, **changes), place.progress
            )

    refused(Conflict, "a bank 'planted' already", name="planted")
    refused(Invalid, "no name of a bank", name="../up")
    refused(NotFound, "no data set", dataset="0" * 64)
    refused(NotFound, "no encoder", encoder="0" * 64)
    refused(NotFound, "no bank", encoder="bank:none")
    refused(Invalid, "no class 'zebra'", class_map={"x": "zebra"})
    other = zipped(tmp_path / "other.zip", {"zebra/1.jpg": b"1"})
    dataset = import_archive(place.store, other, ArchiveLimits.from_settings(place.settings), "other")
    refused(Invalid, "None of the data set's 1 classes", dataset=dataset.id)
    refused(Invalid, "No picture of the data set", dataset=dataset.id, class_map={"zebra": place.planted.classes[0]})
    csv.write_text("nothing")
    refused(LabelsError, "has no column")


# --- Spurious ImageNet


def npy(path: Path, labels: dict[int, list[int]]) -> Path:
    array = np.empty((), dtype=object)
    array[()] = labels
    np.save(path / "components.npy", array, allow_pickle=True)
    return path / "components.npy"


def test_components_become_rows_whose_alphas_are_those_of_the_paper(place: Place, tmp_path: Path) -> None:
    found = import_components(
        place.store, place.settings, npy(tmp_path, {7: [1, 0], 3: [2]}), place.wanted, place.progress
    )
    bank = find_bank(place.settings, "imported")
    rows = bank.manifest.features
    assert [(row.class_index, row.component, row.feature_index, row.rank) for row in rows] == [
        (3, 2, 96, 1),
        (7, 1, 97, 1),
        (7, 0, 98, 2),
    ]
    assert {(row.label, row.kind) for row in rows} == {("spurious", "ambiguous")}
    served = bank.backbone(runtime="torch")
    assert served.components is not None
    alphas = served.components.alphas(place.phi)
    for row in rows:
        own = torch.from_numpy(place.labels == row.class_index)
        psi = (place.weight[row.class_index] * place.phi[own]).double()
        _, vectors = torch.linalg.eigh(torch.cov(psi.T))
        vector = vectors[:, -1 - row.component]
        expected = vector.sum() * ((psi - psi.mean(dim=0)) @ vector)
        assert torch.allclose(alphas[own, row.feature_index - 96].double(), expected, atol=1e-4)
        assert row.statistics.mean == pytest.approx(0, abs=1e-4)
        assert row.statistics.valid_from == pytest.approx(float(expected.quantile(0.8)), abs=1e-4)
        assert row.statistics.images == PER_CLASS
    assert "nothing tells whether" in found.warnings[0]
    assert "2 classes have fewer than 700 pictures" in found.warnings[1]
    assert place.steps[-1] == (24, 24)


def test_components_that_so_few_pictures_do_not_have_are_left_out_and_named(place: Place, tmp_path: Path) -> None:
    wanted = dataclasses.replace(place.wanted, per_class=3)
    found = import_components(place.store, place.settings, npy(tmp_path, {0: [0, 50]}), wanted, place.progress)
    assert [row.component for row in found.bank.manifest.features] == [0]
    assert f"50 of {place.planted.classes[0]}" in found.warnings[-1]
    wanted = dataclasses.replace(wanted, name="none")
    with pytest.raises(Invalid, match="too few pictures"):
        import_components(place.store, place.settings, npy(tmp_path, {0: [50]}), wanted, place.progress)
    assert "none" not in find_banks(place.settings.banks_dir)


def test_a_list_that_is_not_one_is_refused_before_anything_is_looked_at(place: Place, tmp_path: Path) -> None:
    for labels in ({0: [96]}, {10: [1]}):
        with pytest.raises(LabelsError, match="lies outside"):
            import_components(place.store, place.settings, npy(tmp_path, labels), place.wanted, place.progress)
    assert place.steps == []
