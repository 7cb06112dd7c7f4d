"""From an uploaded file to a record: tried out first, kept once, told apart by bytes and declaration."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from jobs.classifiers import (
    ClassifierRecord,
    classifier_id,
    delete_classifier,
    get_classifier,
    import_classifier,
    list_classifiers,
)
from jobs.errors import NotFound
from jobs.isolation import ClassifierFailed
from jobs.settings import Settings
from jobs.store import Store
from models.classifiers.spec import ClassifierSpec
from tests.networks import endless, pooled, spec


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", device="cpu", threads=1, classifier_dry_run_seconds=20)


@pytest.fixture
def store(limits: Settings) -> Store:
    return Store.from_settings(limits)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "network.onnx"


def _names(store: Store) -> set[str]:
    return {f"{folder}/{name}" for folder in ("blobs", "classifiers") for name in store.list(folder)}


def test_an_upload_is_tried_out_and_kept(store: Store, file: Path, limits: Settings) -> None:
    pooled(file)
    size = file.stat().st_size
    record = import_classifier(store, file, spec(name="night", version="2"), limits)
    assert record.trial.provider == "CPUExecutionProvider"
    assert record.trial.fixed_batch is None
    assert record.trial.warnings == []
    assert 0 < record.trial.seconds_per_picture < record.trial.seconds_to_open
    assert record.bytes == size == store.size(f"blobs/{record.blob}")
    assert get_classifier(store, record.id) == record
    assert list_classifiers(store) == [record]
    assert ClassifierRecord.model_validate_json(record.model_dump_json()) == record


def test_the_same_bytes_are_stored_once_and_the_same_declaration_is_the_same_record(
    store: Store, file: Path, limits: Settings
) -> None:
    copies = [Path(shutil.copy(pooled(file), file.with_name(f"copy{index}"))) for index in range(3)]
    first, again, other = (
        import_classifier(store, copy, declared, limits)
        for copy, declared in zip(copies, (spec(), spec(), spec(version="2")), strict=True)
    )
    assert first == again
    assert first.id != other.id
    assert first.blob == other.blob
    assert len(list(store.list("blobs"))) == 1
    delete_classifier(store, first.id)
    assert store.exists(f"blobs/{other.blob}")
    delete_classifier(store, other.id)
    assert _names(store) == set()
    with pytest.raises(NotFound, match=f"no classifier '{first.id}'"):
        get_classifier(store, first.id)


def test_the_id_depends_on_what_is_declared_and_not_on_how_it_is_written() -> None:
    short = ClassifierSpec.model_validate_json(
        '{"format": "onnx", "preprocessing": {"size": 16}, "classes": ["cat", "dog", "bird"]}'
    )
    long = ClassifierSpec.model_validate_json(
        '{"classes": ["cat", "dog", "bird"], "name": "", "format": "onnx", '
        '"preprocessing": {"std": [1, 1.0, 1], "size": 16}}'
    )
    assert classifier_id(short, "a" * 64) == classifier_id(long, "a" * 64)
    assert classifier_id(short, "a" * 64) != classifier_id(short, "b" * 64)
    assert classifier_id(short, "a" * 64) != classifier_id(spec(classes=["dog", "cat", "bird"]), "a" * 64)


@pytest.mark.parametrize("identifier", ["f" * 64, "../blobs/x", "", "F" * 64])
def test_an_unknown_id_is_not_found(store: Store, identifier: str) -> None:
    with pytest.raises(NotFound):
        get_classifier(store, identifier)


def test_what_is_refused_leaves_nothing_in_the_store(store: Store, file: Path, limits: Settings) -> None:
    file.write_bytes(pickle.dumps({"fc.weight": [1.0]}))
    with pytest.raises(ClassifierFailed, match=r"is refused: the file is not .* but a Python pickle") as failed:
        import_classifier(store, file, spec(), limits)
    assert failed.value.reason == "refused"
    assert failed.value.field == "file"
    assert _names(store) == set()


def test_the_whole_trial_ends_in_time(store: Store, file: Path, limits: Settings) -> None:
    hurried = limits.model_copy(update={"classifier_dry_run_seconds": 3.0})
    with pytest.raises(ClassifierFailed, match="and was stopped") as failed:
        import_classifier(store, endless(file), spec(), hurried)
    assert failed.value.reason == "timeout"


def test_records_are_listed_in_pages(store: Store, file: Path, limits: Settings) -> None:
    made = [import_classifier(store, pooled(file), spec(version=str(index)), limits).id for index in range(3)]
    first = list_classifiers(store, limit=2)
    rest = list_classifiers(store, after=first[-1].id, limit=2)
    assert [record.id for record in first + rest] == sorted(made)


def test_what_makes_figures_doubtful_is_said(store: Store, file: Path, limits: Settings) -> None:
    always = import_classifier(store, pooled(file, weights=np.zeros((3, 3), np.float32)), spec(), limits)
    assert "same scores for every picture" in always.trial.warnings[0]

    softmax = [helper.make_node("Softmax", ["linear"], ["scores"], axis=1)]
    certain = import_classifier(store, pooled(file, after=softmax), spec(), limits)
    assert "probabilities already" in certain.trial.warnings[0]

    over_the_batch = [
        helper.make_node("Constant", [], ["first"], value_ints=[0]),
        helper.make_node("ReduceMean", ["linear", "first"], ["usual"], keepdims=1),
        helper.make_node("Sub", ["linear", "usual"], ["scores"]),
    ]
    coupled = import_classifier(store, pooled(file, after=over_the_batch), spec(), limits)
    assert "depend on the other pictures" in coupled.trial.warnings[0]

    single = import_classifier(store, pooled(file, batch=1), spec(), limits)
    assert single.trial.fixed_batch == 1
    assert "one picture at a time" in single.trial.warnings[0]
