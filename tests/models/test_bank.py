"""A bank is whole and its own, or refused with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from models.bank import Bank, Feature
from models.bank_folders import find_banks
from models.bank_writing import write_bank
from models.errors import BankError, UnknownClassError
from tests.models.conftest import labelled, manifest


@pytest.fixture
def copy(bank: Bank, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bank.path, tmp_path / "copy"))


def test_features_come_by_class_label_and_rank(bank: Bank) -> None:
    assert bank.labelled_classes == (0, 1, 2, 3)
    assert [f.rank for f in bank.features(1)] == [1, 2, 3, 4]
    assert {f.label for f in bank.core(1)} == {"core"}
    assert len(bank.core(1)) + len(bank.spurious(1)) == len(bank.features(1))
    assert bank.features(4) == ()


def test_classes_are_found_by_name_and_index(bank: Bank) -> None:
    assert bank.class_index("cat") == bank.class_index(2) == bank.class_index("2") == 2
    for unknown in ("cow", "5", 5, "-1", -1, "²", "x" * 500):
        with pytest.raises(UnknownClassError) as error:
            bank.class_index(unknown)
        assert error.value.field == "classes"
        assert len(str(error.value)) < 200


def test_the_digest_names_the_content(bank: Bank, weights: Path, tmp_path: Path) -> None:
    same = write_bank(tmp_path / "same", manifest(), weights)
    assert same.digest == bank.digest
    relabelled = [*manifest().features[:-1], labelled(3, 23, 4, core=False)]
    assert write_bank(tmp_path / "other", manifest(features=tuple(relabelled)), weights).digest != bank.digest


def test_writing_again_replaces_the_bank_whole(weights: Path, tmp_path: Path) -> None:
    write_bank(tmp_path / "b", manifest(), weights, {"exemplars/a.jpg": b"picture"})
    second = write_bank(tmp_path / "b", manifest(title="second"), weights)
    assert second.manifest.title == "second"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"]
    assert not (tmp_path / "b" / "exemplars").exists()


def test_a_bank_that_does_not_fit_is_not_written(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(BankError, match="does not fit its weights"):
        write_bank(tmp_path / "b", manifest(classes=("a", "b", "c", "d")), weights)
    assert list(tmp_path.iterdir()) == []


def test_an_edited_label_is_noticed(copy: Path) -> None:
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"importance": 1.0', '"importance": 2.0', 1))
    with pytest.raises(BankError, match="damaged"):
        Bank.load(copy)


def test_foreign_weights_are_noticed(copy: Path) -> None:
    tensors = load_file(copy / "backbone.safetensors")
    tensors["fc.bias"] = tensors["fc.bias"] + np.float32(1)
    save_file(tensors, copy / "backbone.safetensors")
    with pytest.raises(BankError, match="digest"):
        Bank.load(copy)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "schema_version"),
        (b'{"a": 1}', "schema_version"),
        (json.dumps({"schema_version": 99}).encode(), "99"),
        (json.dumps({"schema_version": 1, "name": "x"}).encode(), "damaged"),
        (b"\xff\xfe\x00", "not JSON"),
    ],
)
def test_a_foreign_manifest_is_refused_with_the_reason(copy: Path, content: bytes, reason: str) -> None:
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(BankError, match=reason):
        Bank.load(copy)


def test_missing_parts_are_named(copy: Path, tmp_path: Path) -> None:
    (copy / "backbone.safetensors").unlink()
    with pytest.raises(BankError, match=r"backbone\.safetensors"):
        Bank.load(copy)
    with pytest.raises(BankError, match="no bank"):
        Bank.load(tmp_path / "nowhere")


def test_rows_must_fit_the_network() -> None:
    with pytest.raises(ValidationError, match="outside"):
        manifest(features=(labelled(0, 24, 1, core=True),))
    with pytest.raises(ValidationError, match="twice"):
        manifest(features=(labelled(0, 1, 1, core=True), labelled(0, 1, 2, core=False)))
    with pytest.raises(ValidationError, match="plain relative path"):
        manifest(files={"../evil": "0"})
    with pytest.raises(ValidationError, match="kind"):
        Feature.model_validate(labelled(0, 1, 1, core=True).model_dump() | {"kind": "background"})


def test_banks_are_found_by_name_and_user_folders_come_last(bank: Bank) -> None:
    found = find_banks(bank.path.parent)
    assert found["tiny"] == bank.path
