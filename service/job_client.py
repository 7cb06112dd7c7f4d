"""The client's calls for jobs: submit and follow one of any kind, and read what it leaves."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import BaseModel

from jobs.comparison_request import ComparisonRequest
from jobs.discovery_request import DiscoveryRequest
from jobs.export_manifest import ExportManifest
from jobs.export_request import ExportRequest
from jobs.records import JobRecord
from jobs.training_epochs import Epochs
from jobs.training_request import TrainingRequest
from models.draft import Draft, DraftSummary
from service.client_errors import Busy, Refused
from service.drafts import ClassAnswer
from service.problems import TYPE_PREFIX
from service.schemas import Artefact
from service.wire import Wire

if TYPE_CHECKING:  # they come with torch, and whoever lists jobs need not wait for that
    from jobs.audit_request import AuditRequest
    from jobs.comparison import Comparison
    from jobs.gate import Gate
    from jobs.mitigation_report import MitigationReport
    from jobs.mitigation_request import MitigationRequest
    from jobs.report import Report

NOT_COMPARED = TYPE_PREFIX + "not-compared"

RECONNECTS = 5
"""Times in a row that a broken stream of events is opened again."""


class JobClient:
    """A part of `Client`, which gives it the wire."""

    _wire: Wire

    # --- Jobs of any kind

    def jobs(self) -> Iterator[JobRecord]:
        """All jobs, the newest first."""
        return self._wire.items(JobRecord, "/v1/jobs")

    def job(self, job: str) -> JobRecord:
        """One job, by id."""
        return self._wire.get(JobRecord, f"/v1/jobs/{job}")

    def cancel(self, job: str) -> JobRecord:
        """Ask a job to stop; it does within one batch."""
        return JobRecord.model_validate_json(self._wire.send("POST", f"/v1/jobs/{job}/cancel").content)

    def retry(self, job: str) -> JobRecord:
        """Queue a failed or cancelled job again; what is done of it is kept."""
        return JobRecord.model_validate_json(self._wire.send("POST", f"/v1/jobs/{job}/retry").content)

    def follow(self, job: str) -> Iterator[JobRecord]:
        """The job's record now, after every change, and lastly in its final state."""
        failures = 0
        while failures <= RECONNECTS:
            try:
                for record in self._events(job):
                    failures = 0
                    yield record
                    if record.state.is_final:
                        return
            except Busy:
                if failures == RECONNECTS:
                    raise
            failures += 1
            time.sleep(min(2**failures / 4, 5))
        raise Busy(f"The events of job {job} end again and again before the job does.")

    # --- Audits

    def submit_audit(self, request: AuditRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue an audit. The same inputs are the same job: one that is done comes back finished."""
        return self._submit("/v1/audits", request, idempotency_key)

    def report(self, audit: str) -> Report:
        """The report of a finished audit."""
        from jobs.report import Report

        return Report.model_validate_json(self.report_bytes(audit, "application/json"))

    def report_bytes(self, audit: str, media_type: str) -> bytes:
        """The report as it is kept: `application/json` or `text/html`."""
        return self._wire.send("GET", f"/v1/audits/{audit}/report", headers={"Accept": media_type}).content

    def submit_comparison(self, request: ComparisonRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue a comparison of finished audits of the same pictures, as `submit_audit`."""
        return self._submit("/v1/comparisons", request, idempotency_key)

    def comparisons(self) -> Iterator[JobRecord]:
        """All comparisons, the newest first."""
        return self._wire.items(JobRecord, "/v1/comparisons")

    def comparison(self, comparison: str) -> Comparison:
        """What a finished comparison found."""
        from jobs.comparison import Comparison

        return self._wire.get(Comparison, f"/v1/comparisons/{comparison}/report")

    def compare(
        self,
        audit: str,
        baseline: str,
        others: Sequence[str] = (),
        wait: Callable[[JobRecord], object] | None = None,
    ) -> Comparison:
        """Submit a comparison, wait for its end, and tell what differs.

        Args:
            audit, baseline, others: ids of finished audits, see `ComparisonRequest`.
            wait: is given the job and returns when it has ended; where left out, nothing is shown meanwhile.
        """
        return self.comparison(self._compared(audit, baseline, others, wait).id)

    def gate(
        self,
        audit: str,
        rules: str,
        baseline: str | None = None,
        baseline_report: Mapping[str, Any] | None = None,
        wait: Callable[[JobRecord], object] | None = None,
    ) -> Gate:
        """Hold a finished audit against rules; where it has to be compared with the baseline first, do that.

        Args:
            audit: its id.
            rules: text of a rule file.
            baseline: id of the audit that changes are taken from.
            baseline_report: in its place its saved report.
            wait: as in `compare`.
        """
        from jobs.gate import Gate

        body = {"rules": rules, "baseline": baseline, "baseline_report": baseline_report}
        given = {name: value for name, value in body.items() if value is not None}
        path = f"/v1/audits/{audit}/gate"
        try:
            answer = self._wire.post(path, given)
        except Refused as error:
            if error.problem is None or error.problem.type != NOT_COMPARED:
                raise
            self._compared(audit, baseline or str((baseline_report or {}).get("audit")), (), wait)
            answer = self._wire.post(path, given)
        return Gate.model_validate_json(answer.content)

    # --- Mitigations

    def submit_mitigation(self, request: MitigationRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue a mitigation, as `submit_audit`."""
        return self._submit("/v1/mitigations", request, idempotency_key)

    def mitigation_report(self, mitigation: str) -> MitigationReport:
        """What a finished mitigation brought and cost."""
        from jobs.mitigation_report import MitigationReport

        return self._wire.get(MitigationReport, f"/v1/mitigations/{mitigation}/report")

    def download_mitigation(self, mitigation: str, name: str, target: Path) -> None:
        """Write one of its files, such as the changed classifier, to `target`, which is there whole or not at all."""
        self._wire.download(f"/v1/mitigations/{mitigation}/artefacts/{quote(name)}", target)

    # --- Exports

    def submit_export(self, request: ExportRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue an export of masks, as `submit_audit`."""
        return self._submit("/v1/exports", request, idempotency_key)

    def exports(self) -> Iterator[JobRecord]:
        """All exports, the newest first."""
        return self._wire.items(JobRecord, "/v1/exports")

    def export_manifest(self, export: str) -> ExportManifest:
        """What a finished export has written, and where."""
        return self._wire.get(ExportManifest, f"/v1/exports/{export}/artefacts/manifest.json")

    def export_artefacts(self, export: str) -> Iterator[Artefact]:
        """The files that an export left so far."""
        return self._wire.items(Artefact, f"/v1/exports/{export}/artefacts")

    def download_export(self, export: str, name: str, target: Path) -> None:
        """Write one of its files to `target`, which is there whole or not at all."""
        self._wire.download(f"/v1/exports/{export}/artefacts/{quote(name)}", target)

    # --- Trainings

    def submit_training(self, request: TrainingRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue a training, as `submit_audit`."""
        return self._submit("/v1/trainings", request, idempotency_key)

    def trainings(self) -> Iterator[JobRecord]:
        """All trainings, the newest first."""
        return self._wire.items(JobRecord, "/v1/trainings")

    def training_epochs(self, training: str) -> Epochs:
        """The figures of its epochs so far; refused where none has ended, and for a linear head, which has none."""
        return Epochs.model_validate_json(self.training_file(training, "epochs.json"))

    def training_file(self, training: str, name: str) -> bytes:
        """A file of a training: `epochs.json` and `accuracy.png` while it runs, `training.json` at its end."""
        return self._wire.send("GET", f"/v1/trainings/{training}/artefacts/{quote(name, safe='')}").content

    # --- Discoveries

    def submit_discovery(self, request: DiscoveryRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue a discovery, as `submit_audit`."""
        return self._submit("/v1/discoveries", request, idempotency_key)

    def discoveries(self) -> Iterator[JobRecord]:
        """All discoveries, the newest first."""
        return self._wire.items(JobRecord, "/v1/discoveries")

    def draft(self, discovery: str) -> Draft:
        """What a finished discovery found, without the candidates."""
        return self._wire.get(Draft, f"/v1/discoveries/{discovery}/draft")

    def draft_classes(self, discovery: str) -> Iterator[DraftSummary]:
        """The classes of its draft."""
        return self._wire.items(DraftSummary, f"/v1/discoveries/{discovery}/draft/classes")

    def draft_class(self, discovery: str, class_name: str) -> ClassAnswer:
        """The candidates of a class, by name or index."""
        return self._wire.get(ClassAnswer, f"/v1/discoveries/{discovery}/draft/classes/{quote(class_name, safe='')}")

    def draft_picture(self, href: str) -> bytes:
        """A panel or a strip, JPEG, by the address that a class's answer gives."""
        return self._wire.send("GET", href).content

    # --- Inside

    def _submit(self, path: str, request: BaseModel, idempotency_key: str | None) -> JobRecord:
        answer = self._wire.post(path, request.model_dump(exclude_defaults=True), idempotency_key)
        return JobRecord.model_validate_json(answer.content)

    def _compared(
        self, audit: str, baseline: str, others: Sequence[str], wait: Callable[[JobRecord], object] | None
    ) -> JobRecord:
        wanted = {"audit": audit, "baseline": baseline, "with": list(others)}
        job = self.submit_comparison(ComparisonRequest.model_validate(wanted))
        if wait is not None:
            wait(job)
        else:
            deque(self.follow(job.id), maxlen=0)
        return job

    def _events(self, job: str) -> Iterator[JobRecord]:
        with self._wire.stream(f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"}) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield JobRecord.model_validate_json(line.removeprefix("data:"))
