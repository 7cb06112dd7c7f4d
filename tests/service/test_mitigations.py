"""Mitigations over HTTP and on the command line, done by a real worker; what is refused before it is queued."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import onnx
from onnx import helper

from jobs.mitigation_report import MitigationReport
from service.client import Client
from tests import networks
from tests.models.conftest import CLASSES
from tests.service import material
from tests.service.conftest import RunningServer
from tests.service.test_cli import Run, asking, cuecheck

__all__ = ["asking", "cuecheck"]


def test_a_classifier_is_mitigated_from_file_to_file(
    asking: Run, http: httpx.Client, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    material.classifier(tmp_path / "model.onnx")
    (tmp_path / "model.spec.json").write_text(material.spec(name="mine", version="3").model_dump_json())
    (tmp_path / "pictures.zip").write_bytes(material.archive(6, seed=31))
    options = ("--method", "head-refit", "--bank", "tiny", "--lowest", "4", "--out", "out")
    done = asking("mitigate", "model.onnx", "pictures.zip", *options)
    assert done.code == 0, done
    assert "swap gap" in done.stdout
    out = tmp_path / "out"
    report = MitigationReport.model_validate_json((out / "mitigation.json").read_bytes())
    assert report.before.version == "3"
    assert report.after.version.startswith("3+head-refit.")
    onnx.checker.check_model(onnx.load(out / "patched.onnx"))
    assert http.get(f"/v1/classifiers/{report.after.id}").json()["spec"]["name"] == "mine"

    path = f"/v1/mitigations/{report.mitigation}"
    for accept, opening in (("text/html", "<!doctype html>"), ("text/markdown", "## Mitigation of mine: head-refit")):
        answer = http.get(f"{path}/report", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(accept)
        assert answer.text.startswith(opening)
    names = [one["name"] for one in http.get(f"{path}/artefacts").json()["items"]]
    assert {"audit-before.html", "audit-after.json", "patched.onnx", "patched.spec.json"} <= set(names)
    assert http.get(f"{path}/artefacts/look").status_code == 404
    listed = [one["id"] for one in http.get("/v1/mitigations").json()["items"]]
    assert report.mitigation in listed
    assert http.get(path).json()["kind"] == "mitigation"


def test_a_classifier_without_a_linear_head_is_refused_before_it_is_queued(
    server: RunningServer, http: httpx.Client, tmp_path: Path
) -> None:
    softmax = helper.make_node("Softmax", ["linear"], ["scores"])
    side, classes = material.SIDE, len(CLASSES)
    weights = material.WEIGHTS
    networks.pooled(tmp_path / "p.onnx", sides=(side, side), weights=weights, scores=classes, after=[softmax])
    with Client(server.url) as client:
        classifier = client.upload_classifier(tmp_path / "p.onnx", material.spec())
    dataset = material.upload_dataset(http, material.archive(6, seed=31))
    body = {"classifier": classifier.id, "dataset": dataset, "bank": "tiny", "method": "spufix"}
    answer = http.post("/v1/mitigations", json=body)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["field"] == "classifier"
    assert "ends in Softmax" in problem["detail"]
    assert "logits" in problem["remedy"]
    for changes, field in (({"method": "hope"}, "method"), ({"fit_share": 1}, "fit_share"), ({"bank": "none"}, "bank")):
        refused = http.post("/v1/mitigations", json=body | changes)
        assert refused.status_code in (404, 422)
        assert field in refused.text
