"""Audits as runs of a real MLflow server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import free_port, wait_for
from tests.service.material import archive, classifier, spec
from tests.service.test_cli import Run, asking, cuecheck

__all__ = ["asking", "cuecheck"]

pytest.importorskip("mlflow", reason="MLflow's client is not installed: pip install 'cuecheck[mlflow]'")


@pytest.fixture
def subjects(tmp_path: Path) -> tuple[str, str, str, str]:
    """Arguments of an audit with pictures enough for figures."""
    classifier(tmp_path / "model.onnx")
    (tmp_path / "model.spec.json").write_text(spec(name="logged").model_dump_json(exclude_none=True))
    (tmp_path / "pictures.zip").write_bytes(archive(22, ("ant",), seed=95))
    return "model.onnx", "pictures.zip", "--class", "ant"


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a real MLflow server's own interface."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    store = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files"))
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *store],
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # nothing here needs its job workers
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_for(lambda: _healthy(client), 180, (folder / "log.txt").read_text, process)
            yield client
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False


def runs(tracking: httpx.Client) -> list[dict[str, Any]]:
    """All runs of the experiment `cuecheck`, by MLflow's own interface."""
    api = "/api/2.0/mlflow"
    found = tracking.get(f"{api}/experiments/get-by-name", params={"experiment_name": "cuecheck"}).json()
    identifier = found["experiment"]["experiment_id"]
    listed: list[dict[str, Any]] = tracking.post(f"{api}/runs/search", json={"experiment_ids": [identifier]}).json()[
        "runs"
    ]
    return listed


def test_an_audit_is_one_run_however_often_it_is_logged(
    asking: Run, worker: subprocess.Popen[bytes], subjects: tuple[str, ...], tracking: httpx.Client, http: httpx.Client
) -> None:
    uri = str(tracking.base_url)
    audited = asking("audit", *subjects, "--mlflow", uri)
    assert audited.code == 0, audited
    assert "logged run" in audited.stdout
    (first,) = runs(tracking)
    tags = {tag["key"]: tag["value"] for tag in first["data"]["tags"]}
    report = http.get(f"/v1/audits/{tags['cuecheck.audit']}/report").json()

    api = "/api/2.0/mlflow"
    assert tracking.post(f"{api}/registered-models/create", json={"name": "ants"}).is_success
    version = {"name": "ants", "source": first["info"]["artifact_uri"], "run_id": first["info"]["run_id"]}
    made = tracking.post(f"{api}/model-versions/create", json=version)
    assert made.is_success, made.text
    again = asking("mlflow", "log", report["audit"], "--tracking-uri", uri, "--model", "ants", "--model-version", "1")
    assert again.code == 0, again
    assert "updated run" in again.stdout
    (run,) = runs(tracking)
    assert run["info"]["run_id"] == first["info"]["run_id"]
    assert run["info"]["status"] == "FINISHED"

    metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    accuracy = report["findings"]["overall"]["clean_accuracy"]["class_mean"]
    for end, field in (("", "value"), (".low", "low"), (".high", "high"), (".n", "n")):
        assert metrics[f"clean_accuracy{end}"] == accuracy[field]
    assert metrics["headline.n"] == report["headline"]["n"]
    assert ("headline" in metrics) is (report["headline"]["value"] is not None)
    history = {"run_id": run["info"]["run_id"], "metric_key": "clean_accuracy"}
    assert len(tracking.get(f"{api}/metrics/get-history", params=history).json()["metrics"]) == 1
    params = {param["key"]: param["value"] for param in run["data"]["params"]}
    assert params["sigma"] == str(report["parameters"]["sigma"])
    assert tags["cuecheck.verdict"] == report["verdict"]
    assert tags["cuecheck.classifier"] == report["classifier"]["id"]
    assert tags["cuecheck.bank"] == report["bank"]["digest"]
    files = tracking.get(f"{api}/artifacts/list", params={"run_id": run["info"]["run_id"]}).json()["files"]
    assert {file["path"] for file in files} == {"report.html", "report.json"}
    told = tracking.get(f"{api}/model-versions/get", params={"name": "ants", "version": "1"}).json()
    version_tags = {tag["key"]: tag["value"] for tag in told["model_version"]["tags"]}
    assert version_tags["cuecheck.audit"] == report["audit"]
    assert version_tags["cuecheck.run"] == run["info"]["run_id"]

    refused = asking("mlflow", "log", report["audit"], "--tracking-uri", uri, "--model", "no", "--model-version", "9")
    assert refused.code == 1, refused
    assert "refused" in refused.stderr


def test_the_audit_is_done_though_mlflow_is_away(
    asking: Run, worker: subprocess.Popen[bytes], subjects: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.mlflow_run.FIRST_PAUSE_SECONDS", 0.01)
    away = f"http://127.0.0.1:{free_port()}"
    audited = asking("audit", *subjects, "--mlflow", away)
    assert audited.code == 0, audited
    assert "not logged" in audited.stderr
    command = " ".join(audited.stderr.split()).partition("cuecheck mlflow log ")[2].split()
    assert command[1:3] == ["--tracking-uri", away]
    later = asking("mlflow", "log", command[0], "--tracking-uri", away)
    assert later.code == 3, later
    assert "tried 3 times" in " ".join(later.stderr.split())
