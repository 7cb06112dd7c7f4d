"""Webhooks over HTTP and on the command line, from the subscription to the event of an audit that a worker made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.jobs.receiver import receiving
from tests.service.conftest import wait_for
from tests.service.material import archive, classifier, ended, spec, upload_classifier, upload_dataset
from tests.service.test_cli import Run, asking, cuecheck

__all__ = ["asking", "cuecheck"]


def test_an_audit_is_told(http: httpx.Client, worker: subprocess.Popen[bytes], asking: Run, tmp_path: Path) -> None:
    """Its event carries headline, verdict, links and the gate's verdict; and its figures are gauges."""
    (tmp_path / "rules.toml").write_text('[[rule]]\ncheck = "clean_accuracy >= 0 %"\nmin = 1000000\n')
    with receiving() as receiver:
        added = asking("webhook", "add", receiver.url, "--type", "succeeded", "--gate", "rules.toml")
        assert added.code == 0, added
        assert added.stdout.startswith("whsec_")
        identifier = added.stderr.partition("webhook ")[2][:12]
        tested = asking("webhook", "test", identifier)
        assert tested.code == 0, tested
        receiver.statuses = [500]
        assert asking("webhook", "test", identifier).code == 1
        listed = http.get("/v1/webhooks")
        assert added.stdout.strip() not in listed.text
        assert receiver.url in listed.text

        dataset = upload_dataset(http, archive(2, seed=90))
        subject = upload_classifier(http, classifier(tmp_path / "told.onnx"), spec(name="told"))
        audit = {"classifier": subject.json()["id"], "dataset": dataset, "bank": "tiny", "classes": ["ant"]}
        job = http.post("/v1/audits", json=audit).json()["id"]
        assert ended(http, job)["state"] == "succeeded"
        wait_for(lambda: len(receiver.got) > 2, 60)

        *pings, event = receiver.events()
        assert {ping["type"] for ping in pings} == {"org.cuecheck.ping"}
        assert event["type"] == "org.cuecheck.job.succeeded"
        assert event["subject"] == event["data"]["job"]["id"] == job
        assert "report.json" in event["data"]["job"]["artefacts"]
        report = http.get(event["data"]["links"]["report"]).json()
        told = event["data"]["audit"]
        assert told["headline"] == report["headline"]
        assert (told["verdict"], told["flagged"]) == (report["verdict"], report["flagged"])
        assert told["gate"]["verdict"] == "undecided"

        wait_for(lambda: len(deliveries(http, identifier)) == 3, 10)
        assert [one["state"] for one in deliveries(http, identifier)] == ["delivered", "failed", "delivered"]
        assert "delivered" in asking("webhook", "deliveries", identifier).stdout
        assert asking("webhook", "remove", identifier).code == 0
        assert http.get(f"/v1/webhooks/{identifier}/deliveries").status_code == 404

    answer = http.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    labels = {"classifier": "told", "bank": "tiny"}
    (flagged,) = (one for one in families["cuecheck_audit_flagged_classes"].samples if one.labels == labels)
    assert flagged.value == len(report["flagged"])
    assert {"cuecheck_requests", "cuecheck_jobs", "cuecheck_audit_headline"} <= set(families)


def deliveries(http: httpx.Client, webhook: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = http.get(f"/v1/webhooks/{webhook}/deliveries").json()["deliveries"]
    return found


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "ftp://example.org/"])
def test_an_address_that_must_not_be_called_is_refused(http: httpx.Client, asking: Run, url: str) -> None:
    answer = http.post("/v1/webhooks", json={"url": url})
    assert answer.status_code == 422
    assert answer.json()["field"] == "url"
    assert asking("webhook", "add", url).code == 1


def test_a_field_that_does_nothing_is_refused(http: httpx.Client) -> None:
    """Somebody who misnames `gate` would wait for verdicts that never come."""
    answer = http.post("/v1/webhooks", json={"url": "https://example.org/", "rules": "[[rule]]"})
    assert answer.status_code == 422
    assert answer.json()["field"] == "rules"
