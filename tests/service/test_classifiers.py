"""Classifiers over HTTP: tried out on upload, stored once, and refused with the reason."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.problems import TYPE_PREFIX
from tests import networks
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer
from tests.service.material import SIDE, WEIGHTS, classifier, spec, upload_classifier


def test_a_classifier_is_tried_out_and_kept(http: httpx.Client, tmp_path: Path) -> None:
    answer = upload_classifier(http, classifier(tmp_path / "model.onnx"), spec(name="hound", version="3"))
    assert answer.status_code == 201, answer.text
    record = answer.json()
    assert record["spec"]["classes"] == list(CLASSES)
    assert record["trial"]["provider"] == "CPUExecutionProvider"
    assert http.get(answer.headers["Location"]).json() == record
    assert record["id"] in [found["id"] for found in http.get("/v1/classifiers").json()["items"]]


def test_file_and_declaration_together_make_the_id(http: httpx.Client, server: RunningServer, tmp_path: Path) -> None:
    file = classifier(tmp_path / "model.onnx")
    first, again = upload_classifier(http, file), upload_classifier(http, file)
    other = upload_classifier(http, file, spec(version="another"))
    assert (again.status_code, again.json()) == (200, first.json())
    assert other.json()["id"] != first.json()["id"]
    assert other.json()["blob"] == first.json()["blob"]


def test_a_deleted_classifier_is_gone_but_not_the_file_of_another(http: httpx.Client, tmp_path: Path) -> None:
    file = classifier(tmp_path / "model.onnx")
    kept, deleted = (upload_classifier(http, file, spec(name=name)).json()["id"] for name in ("kept", "deleted"))
    assert http.delete(f"/v1/classifiers/{deleted}").status_code == 204
    assert http.get(f"/v1/classifiers/{deleted}").status_code == 404
    assert http.get(f"/v1/classifiers/{kept}").status_code == 200


@pytest.mark.parametrize(
    ("text", "status", "kind", "field"),
    [
        (None, 422, "invalid", "spec"),
        ("{not json", 400, "malformed", "spec"),
        (json.dumps({"format": "onnx", "classes": ["a", "b"]}), 422, "invalid", "spec.preprocessing"),
        (
            json.dumps({"format": "mar", "classes": ["a", "b"], "preprocessing": {"size": 32}}),
            422,
            "invalid",
            "spec.format",
        ),
        (
            json.dumps({"format": "onnx", "classes": ["a", "b"], "preprocessing": {"size": 1}}),
            422,
            "invalid",
            "spec.preprocessing.size",
        ),
    ],
    ids=["missing", "no JSON", "incomplete", "unknown format", "impossible size"],
)
def test_a_faulty_declaration_names_its_field(
    http: httpx.Client, tmp_path: Path, text: str | None, status: int, kind: str, field: str
) -> None:
    files = {"file": ("model.onnx", classifier(tmp_path / "model.onnx").read_bytes())}
    answer = http.post("/v1/classifiers", files=files, data={} if text is None else {"spec": text})
    assert answer.status_code == status
    assert answer.json()["type"] == TYPE_PREFIX + kind
    assert answer.json()["field"] == field


def wrong_count(path: Path) -> Path:
    return networks.pooled(path, sides=(SIDE, SIDE))


def wrong_input(path: Path) -> Path:
    return networks.pooled(path, sides=(SIDE, SIDE), channels=1, weights=WEIGHTS[:1], scores=len(CLASSES))


def not_numbers(path: Path) -> Path:
    return networks.pooled(path, sides=(SIDE, SIDE), weights=np.full_like(WEIGHTS, np.nan), scores=len(CLASSES))


def disguised_pickle(path: Path) -> Path:
    path.write_bytes(pickle.dumps({"weights": list(range(1000))}))
    return path


def nothing(path: Path) -> Path:
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("make", [wrong_count, wrong_input, not_numbers, disguised_pickle, nothing])
def test_a_classifier_that_cannot_be_audited_is_refused(
    http: httpx.Client, server: RunningServer, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    before = http.get("/v1/classifiers", params={"limit": 1000}).json()["items"]
    answer = upload_classifier(http, make(tmp_path / "model.onnx"))
    assert answer.status_code == 422
    assert answer.json()["type"] == TYPE_PREFIX + "invalid"
    assert len(answer.json()["detail"]) > 20
    assert http.get("/v1/classifiers", params={"limit": 1000}).json()["items"] == before
    assert list((server.settings.data_dir / "store" / ".scratch").iterdir()) == []
