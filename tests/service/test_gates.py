"""Comparisons and gates over HTTP and on the command line, on audits that a real worker made."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest

from jobs.comparison import Comparison
from jobs.gate import Gate
from jobs.records import JobRecord
from service.client import Client
from service.client_errors import Refused
from service.problems import TYPE_PREFIX
from tests import networks
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer
from tests.service.material import SIDE, WEIGHTS, archive, classifier, ended, spec, upload_classifier, upload_dataset
from tests.service.test_cli import Run, asking, cuecheck

__all__ = ["asking", "cuecheck"]

RULE = '[[rule]]\nof = "sample mean"\n'
PASS = RULE + 'check = "clean_accuracy >= 0 %"\n'
FAIL = RULE + 'check = "clean_accuracy >= 99 %"\nname = "Mostly right"\n'
UNDECIDED = RULE + 'check = "clean_accuracy >= 0 %"\nmin = 1000000\n'
SAME = RULE + 'check = "clean_accuracy >= -99 points"\nagainst = "baseline"\n'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classifiers with their declarations and some pictures."""
    folder = tmp_path_factory.mktemp("gates")
    classifier(folder / "old.onnx")
    other = np.random.default_rng(6).normal(size=WEIGHTS.shape).astype(np.float32)
    networks.pooled(folder / "new.onnx", sides=(SIDE, SIDE), weights=other, scores=len(CLASSES))
    for name in ("old", "new"):
        (folder / f"{name}.spec.json").write_text(spec(name=name).model_dump_json(exclude_none=True))
    (folder / "pictures.zip").write_bytes(archive(8, seed=70))
    return folder


@pytest.fixture(scope="module")
def audits(http: httpx.Client, files: Path, worker: subprocess.Popen[bytes]) -> dict[str, str]:
    """Ids of audits: both classifiers on the same pictures, and one that cannot be compared with them."""
    dataset = upload_dataset(http, (files / "pictures.zip").read_bytes())
    subjects = {
        name: upload_classifier(http, files / f"{name}.onnx", spec(name=name)).json()["id"] for name in ("old", "new")
    }
    wanted: dict[str, dict[str, Any]] = {
        "old": {"classifier": subjects["old"]},
        "new": {"classifier": subjects["new"]},
        "stronger": {"classifier": subjects["new"], "sigma": 0.5},
    }
    ids = {}
    for name, fields in wanted.items():
        answer = http.post("/v1/audits", json={"dataset": dataset, "bank": "tiny", **fields})
        assert answer.status_code in (200, 202), answer.text
        ids[name] = answer.json()["id"]
    for job in ids.values():
        assert ended(http, job)["state"] == "succeeded"
    return ids


@pytest.fixture(scope="module")
def comparison(http: httpx.Client, audits: dict[str, str]) -> str:
    """Id of the comparison of the new audit with the old one; the test of what a gate says before has been."""
    answer = http.post("/v1/comparisons", json={"audit": audits["new"], "baseline": audits["old"]})
    assert answer.status_code in (200, 202), answer.text
    assert ended(http, answer.json()["id"])["state"] == "succeeded"
    return str(answer.json()["id"])


def test_a_gate_asks_for_the_comparison_that_it_needs(http: httpx.Client, audits: dict[str, str]) -> None:
    """It reads the rows of two whole audits, which nobody should wait for within a request."""
    path = f"/v1/audits/{audits['new']}/gate"
    saved = http.get(f"/v1/audits/{audits['old']}/report").json()
    for baseline in ({"baseline": audits["old"]}, {"baseline_report": saved}):
        refused = http.post(path, json={"rules": SAME, **baseline})
        assert refused.status_code == 409, refused.text
        problem = refused.json()
        assert (problem["type"], problem["field"]) == (TYPE_PREFIX + "not-compared", "baseline")
        assert "/v1/comparisons" in problem["remedy"]
    assert http.get("/v1/comparisons").json()["items"] == [], "nothing is created by a gate"
    assert http.post(path, json={"rules": PASS, "baseline": audits["old"]}).status_code == 200, "no rule needs it"


def test_two_audits_are_compared_picture_by_picture(
    http: httpx.Client, audits: dict[str, str], comparison: str
) -> None:
    path = f"/v1/comparisons/{comparison}"
    answer = http.get(f"{path}/report")
    assert answer.status_code == 200, answer.text
    found = Comparison.model_validate_json(answer.content)
    change = next(d for d in found.differences if (d.metric, d.mean) == ("clean_accuracy", "sample"))
    reports = [http.get(f"/v1/audits/{audits[name]}/report").json() for name in ("new", "old")]
    new, old = (report["findings"]["overall"]["clean_accuracy"]["sample_mean"] for report in reports)
    assert found.pictures == change.figure.n == new["n"] > 20
    assert change.paired
    assert change.figure.value == pytest.approx(new["value"] - old["value"])
    sections = {d.metric.partition(".")[2] for d in found.differences if d.paired and "natural-pictures." in d.metric}
    assert sections == {"spurious_gap", "accuracy_highest", "accuracy_lowest", "worst_group_accuracy"}
    record = http.get(path).json()
    assert (record["kind"], record["state"]) == ("comparison", "succeeded")
    pictures = http.get(f"/v1/jobs/{audits['new']}").json()["total"]
    assert record["done"] == record["total"] == 2 * pictures, "read twice, as ranks need the scale of spuriosity"
    assert record["request"] == {"audit": audits["new"], "baseline": audits["old"], "with": []}
    assert [one["id"] for one in http.get("/v1/comparisons").json()["items"]] == [comparison]
    assert comparison in [one["id"] for one in http.get("/v1/jobs").json()["items"]]


def test_the_same_comparison_is_the_same_job(http: httpx.Client, audits: dict[str, str], comparison: str) -> None:
    wanted, headers = {"audit": audits["new"], "baseline": audits["old"]}, {"Idempotency-Key": "compare-once"}
    again = http.post("/v1/comparisons", json={**wanted, "with": []}, headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, comparison)
    assert again.headers["Location"] == f"/v1/jobs/{comparison}"
    other = http.post("/v1/comparisons", json={**wanted, "audit": audits["old"]}, headers=headers)
    assert other.json()["type"] == TYPE_PREFIX + "key-reused"


@pytest.mark.parametrize("media_type", ["text/html", "text/markdown"])
def test_a_comparison_for_people(http: httpx.Client, audits: dict[str, str], media_type: str) -> None:
    wanted = {"audit": audits["new"], "baseline": audits["old"], "with": [audits["old"]]}
    job = http.post("/v1/comparisons", json=wanted).json()["id"]
    assert ended(http, job)["state"] == "succeeded"
    answer = http.get(f"/v1/comparisons/{job}/report", headers={"Accept": media_type})
    assert answer.headers["Content-Type"].startswith(media_type)
    assert "new against old" in answer.text
    assert "no accuracy over spuriosity" in answer.text
    assert (media_type != "text/html") or answer.headers["Content-Security-Policy"].startswith("sandbox")
    assert http.get(f"/v1/comparisons/{job}/report", headers={"Accept": "application/pdf"}).status_code == 406


def test_what_cannot_be_compared_is_refused_before_it_is_queued(http: httpx.Client, audits: dict[str, str]) -> None:
    known = len(http.get("/v1/jobs").json()["items"])
    for changes, status, field in (
        ({"audit": audits["stronger"]}, 422, "baseline"),
        ({"with": [audits["stronger"]]}, 422, "with"),
        ({"audit": "0" * 32}, 404, "audit"),
        ({"baseline": "../" * 10}, 404, "baseline"),
        ({"with": ["none"]}, 404, "with"),
        ({"with": ["x"] * 201}, 422, "with"),
        ({"others": []}, 422, "others"),
        ({"baseline": 7}, 422, "baseline"),
    ):
        answer = http.post("/v1/comparisons", json={"audit": audits["new"], "baseline": audits["old"], **changes})
        assert (answer.status_code, answer.json()["field"]) == (status, field), (changes, answer.text)
        assert status == 404 or "audit" not in changes or "sigma" in answer.json()["detail"]
    assert len(http.get("/v1/jobs").json()["items"]) == known
    assert http.get(f"/v1/comparisons/{audits['old']}").status_code == 404, "an audit is no comparison"


@pytest.mark.parametrize(("rules", "verdict"), [(PASS, "pass"), (FAIL, "fail"), (UNDECIDED, "undecided")])
def test_a_verdict_over_http(http: httpx.Client, audits: dict[str, str], rules: str, verdict: str) -> None:
    answer = http.post(f"/v1/audits/{audits['new']}/gate", json={"rules": rules})
    assert answer.status_code == 200, answer.text
    assert Gate.model_validate_json(answer.content).verdict == verdict


def test_a_verdict_in_every_form(http: httpx.Client, audits: dict[str, str]) -> None:
    path, body = f"/v1/audits/{audits['new']}/gate", {"rules": FAIL}
    junit = http.post(path, json=body, headers={"Accept": "application/xml"})
    assert ElementTree.fromstring(junit.content).get("failures") == "1"
    assert "Mostly right" in http.post(path, json=body, headers={"Accept": "text/markdown"}).text
    assert http.post(path, json=body, headers={"Accept": "application/pdf"}).status_code == 406


def test_a_baseline_by_id_or_as_a_saved_report(http: httpx.Client, audits: dict[str, str], comparison: str) -> None:
    path = f"/v1/audits/{audits['new']}/gate"
    saved = http.get(f"/v1/audits/{audits['old']}/report").json()
    gone = saved | {"audit": "0" * 32}  # of a service that does not know of it any more
    for body, paired in (
        ({"baseline": audits["old"]}, True),
        ({"baseline_report": saved}, True),
        ({"baseline_report": gone}, False),
    ):
        answer = http.post(path, json={"rules": SAME, **body})
        assert answer.status_code == 200, answer.text
        assert [one["paired"] for one in answer.json()["judged"]] == [paired]


def test_a_saved_report_that_was_changed_is_no_baseline(
    http: httpx.Client, audits: dict[str, str], comparison: str
) -> None:
    saved = http.get(f"/v1/audits/{audits['old']}/report").json()
    saved["headline"]["value"] = 0.0
    answer = http.post(f"/v1/audits/{audits['new']}/gate", json={"rules": SAME, "baseline_report": saved})
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == "baseline_report"
    assert "was changed" in answer.json()["detail"]


def test_the_python_client_compares_what_a_gate_needs(server: RunningServer, audits: dict[str, str]) -> None:
    waited: list[JobRecord] = []
    with Client(server.url) as client:
        found = client.gate(audits["old"], SAME, audits["new"])
        assert [one.paired for one in found.judged] == [True]
        saved = client.report(audits["old"]).model_dump(mode="json")
        found = client.gate(
            audits["old"], SAME, baseline_report=saved, wait=lambda job: waited.extend(client.follow(job.id))
        )
        assert [one.paired for one in found.judged] == [True]
        assert waited[-1].state.is_final
        assert client.compare(audits["old"], audits["new"]).pictures
        assert waited[-1].id in [job.id for job in client.comparisons()]
        with pytest.raises(Refused) as refused:
            client.gate(audits["old"], SAME, audits["stronger"])
    assert refused.value.problem is not None
    assert refused.value.problem.field == "baseline"


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        ({"rules": "["}, "rules", "no TOML"),
        ({"rules": "#" * 10**6}, "rules", "64 KiB"),
        ({"rules": '[[rule]]\ncheck = "clean_acuracy >= 1 %"'}, "rules", "clean_acuracy"),
        ({"rules": SAME}, "rules", "baseline"),
        ({"rules": SAME, "baseline_report": {"schema_version": 7}}, "baseline_report", "schema '7'"),
        ({"rules": SAME, "baseline": "0" * 32, "baseline_report": {}}, "baseline", "Both"),
        ({}, "rules", "required"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    http: httpx.Client, audits: dict[str, str], body: dict[str, Any], field: str, why: str
) -> None:
    answer = http.post(f"/v1/audits/{audits['new']}/gate", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == TYPE_PREFIX + "invalid"
    assert answer.json()["field"] == field
    assert why in answer.json()["detail"]


def test_capabilities_list_the_metrics(http: httpx.Client) -> None:
    metrics = http.get("/v1/capabilities").json()["audits"]["metrics"]
    assert metrics["swap_gap"]["unit"] == "points"
    assert metrics["swap_gap"]["worse"] == "higher"


def test_a_release_hangs_on_an_audit(
    asking: Run,
    audits: dict[str, str],
    files: Path,
    tmp_path: Path,
) -> None:
    """`cuecheck audit --gate` from files, `gate` and `compare` on what is done: verdicts are exit codes and files."""
    for name, text in (("pass", PASS + SAME), ("fail", FAIL), ("undecided", UNDECIDED), ("broken", FAIL + "x = 1")):
        (tmp_path / f"{name}.toml").write_text(text)
    subjects = (files / "new.onnx", files / "pictures.zip", "--bank", "tiny")
    done = asking("audit", *subjects, "--gate", "pass.toml", "--baseline", audits["old"], "--out", "found")
    assert done.code == 0, done
    assert {file.name for file in (tmp_path / "found").iterdir()} == {
        "report.json",
        "report.html",
        "gate.json",
        "gate.xml",
        "gate.md",
    }
    assert json.loads((tmp_path / "found" / "gate.json").read_bytes())["verdict"] == "pass"
    assert ElementTree.parse(tmp_path / "found" / "gate.xml").getroot().get("tests") == "2"

    failed = asking("gate", audits["new"], "fail.toml")
    assert failed.code == 1, failed
    assert "Mostly right" in (tmp_path / "gate.md").read_text()
    assert asking("gate", audits["new"], "undecided.toml").code == 2
    saved = asking("gate", audits["new"], "pass.toml", "--baseline", tmp_path / "found" / "report.json")
    assert saved.code == 0, saved

    for arguments, code in (
        (("gate", audits["new"]), 64),
        (("gate", audits["new"], "broken.toml"), 64),
        (("gate", audits["new"], "pass.toml"), 64),  # needs a baseline
        (("gate", audits["stronger"], "pass.toml", "--baseline", audits["old"]), 64),
        (("gate", "0" * 32, "fail.toml"), 70),
        (("audit", *subjects, "--gate", "broken.toml"), 64),
        (("audit", *subjects, "--baseline", audits["old"]), 2),
    ):
        done = asking(*arguments)
        assert done.code == code, (arguments, done)

    compared = asking("compare", audits["new"], audits["old"], "--out", "compared")
    assert compared.code == 0, compared
    assert "succeeded" in compared.stderr
    assert "Swap gap" in compared.stdout
    names = {file.name for file in (tmp_path / "compared").iterdir()}
    assert names == {"comparison.json", "comparison.html", "comparison.md"}
    assert asking("compare", audits["stronger"], audits["old"]).code == 1


def test_without_a_service_a_gate_has_no_verdict(cuecheck: Run, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(PASS)
    assert cuecheck("--url", "http://127.0.0.1:9", "gate", "0" * 32, "rules.toml").code == 3
