"""An audit runs on, and names, exactly the bank that answered to the name when it was submitted."""

from __future__ import annotations

from jobs.bank_publication import publish_bank
from jobs.records import JobState
from jobs.report import Report
from jobs.subjects import find_bank
from models.bank_edit import Kept, rethreshold
from tests.jobs.installation import Installation, work


def report(installation: Installation, job: str) -> Report:
    return Report.model_validate_json(installation.queue.store.read_bytes(f"audits/{job}/report.json"))


def test_a_newer_version_does_not_reach_an_audit_that_waits(in_process: Installation) -> None:
    queue, settings = in_process.queue, in_process.settings
    request = in_process.request.model_copy(update={"max_pictures": 8})
    before = find_bank(settings, "tiny")
    waiting = queue.submit(request).id
    edited = rethreshold(Kept(before, None), 5)
    newer = publish_bank(settings, edited.manifest, edited.files, edited.provenance, parent=before.digest)
    assert find_bank(settings, "tiny").digest == newer.digest
    work(queue)
    assert queue.get(waiting).state is JobState.SUCCEEDED
    assert report(in_process, waiting).bank.digest == before.digest

    by_name = queue.submit(request).id
    assert by_name != waiting, "the name means another bank now"
    assert queue.submit(request.model_copy(update={"bank": "tiny@1"})).id == waiting
    assert queue.submit(request.model_copy(update={"bank": before.digest})).id == waiting
    work(queue)
    assert report(in_process, by_name).bank.digest == newer.digest
