"""A small typed client of the service's HTTP interface; the command line is written with it.

with Client("http://127.0.0.1:8765", key="cck_...") as client:
    dataset = client.upload_dataset(Path("pictures.zip"))
    classifier = client.upload_classifier(Path("model.onnx"), spec)
    job = client.submit_audit(AuditRequest(classifier=classifier.id, dataset=dataset.id))
    for job in client.follow(job.id):
        print(job.done, "of", job.total)
    report = client.report(job.id)
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from jobs.annotation_invitations import TOKEN_PREFIX
from jobs.classifiers import ClassifierRecord
from jobs.comparison_request import ComparisonRequest
from jobs.datasets import DatasetRecord
from jobs.discovery_request import DiscoveryRequest
from jobs.encoder_declaration import EncoderDeclaration
from jobs.encoder_record import EncoderRecord
from jobs.export_manifest import ExportManifest
from jobs.export_request import ExportRequest
from jobs.layouts import Layout
from jobs.records import JobRecord
from jobs.training_epochs import Epochs
from jobs.training_request import TrainingRequest
from models.bank_diff import BankDiff
from models.classifiers.spec import ClassifierSpec
from models.draft import Draft, DraftSummary
from service.annotation_client import AnnotationClient, LabelClient
from service.client_errors import Broken, Busy, ClientError, Refused
from service.drafts import ClassAnswer
from service.problems import TYPE_PREFIX, ProblemDetails
from service.schemas import (
    Artefact,
    BankClass,
    BankDetails,
    BankFeatures,
    BankList,
    BankSummary,
    BankVersions,
    MasksAnswer,
    Page,
)

if TYPE_CHECKING:  # they come with torch, and whoever lists jobs need not wait for that
    from jobs.audit_request import AuditRequest
    from jobs.comparison import Comparison
    from jobs.gate import Gate
    from jobs.mitigation_report import MitigationReport
    from jobs.mitigation_request import MitigationRequest
    from jobs.report import Report
    from service.webhooks import WebhookClient

Source = Path | IO[bytes]
"""What is uploaded: a path, or an open file, such as one that reports its progress."""

NOT_COMPARED = TYPE_PREFIX + "not-compared"

RECONNECTS = 5
"""Times in a row that a broken stream of events is opened again."""


class Client:
    """One service, reached with one key; a context manager."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8765",
        key: str | None = None,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: Root of the service.
            key: API key, where the service asks for one; or an invitation's token, for `label`.
            timeout: Longest wait for the next byte of an answer, seconds.
            transport: How requests travel, for tests and proxies.
        """
        headers = {"X-API-Key": key} if key else {}
        if key is not None and key.startswith(TOKEN_PREFIX):
            headers = {"Authorization": f"Bearer {key}"}
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # --- Masks and banks

    def masks(
        self, pictures: Sequence[tuple[str, bytes]], fields: Mapping[str, str | Sequence[str]] | None = None
    ) -> MasksAnswer:
        """Masks of some pictures, the maps as base64 in the answer.

        Args:
            pictures: Name and bytes of each.
            fields: The further form fields of `POST /v1/masks`, such as `bank`, `classes`, `maps`, `size`.
        """
        files = [("pictures", picture) for picture in pictures]
        answer = self._send("POST", "/v1/masks", files=files, data=dict(fields or {}))
        return MasksAnswer.model_validate_json(answer.content)

    def capabilities(self) -> dict[str, Any]:
        """Everything this service offers: audits, corruptions, formats, limits."""
        capabilities: dict[str, Any] = self._send("GET", "/v1/capabilities").json()
        return capabilities

    def banks(self) -> BankList:
        """The feature banks."""
        return BankList.model_validate_json(self._send("GET", "/v1/banks").content)

    def bank(self, bank: str) -> BankDetails:
        """One feature bank, by name, `name@version` or digest, with its card."""
        return BankDetails.model_validate_json(self._send("GET", f"/v1/banks/{bank}").content)

    def bank_classes(self, bank: str) -> Iterator[BankClass]:
        """The classes of a bank."""
        return map(BankClass.model_validate, self._pages(f"/v1/banks/{bank}/classes"))

    def bank_features(self, bank: str, class_name: str) -> BankFeatures:
        """The labelled features of a class."""
        path = f"/v1/banks/{bank}/classes/{class_name}/features"
        return BankFeatures.model_validate_json(self._send("GET", path).content)

    def bank_versions(self, bank: str) -> BankVersions:
        """All versions of a bank, the latest first."""
        return BankVersions.model_validate_json(self._send("GET", f"/v1/banks/{bank}/versions").content)

    def diff_banks(self, bank: str, other: str) -> BankDiff:
        """What is different in another bank."""
        answer = self._send("GET", f"/v1/banks/{bank}/diff", params={"with": other})
        return BankDiff.model_validate_json(answer.content)

    def export_bank(self, bank: str, target: IO[bytes]) -> str:
        """Write a whole bank as one file; the name that the service gives it, e.g. `birds@2.zip`."""
        path = f"/v1/banks/{bank}/export"
        with _translated(self._http.base_url), self._http.stream("GET", path) as answer:
            if answer.is_error:
                answer.read()
                raise _error(answer)
            for piece in answer.iter_bytes(2**20):
                target.write(piece)
        return answer.headers["Content-Disposition"].partition('filename="')[2].rstrip('"')

    def import_bank(self, file: Source, name: str | None = None, idempotency_key: str | None = None) -> BankSummary:
        """Take a bank from a file, under another name if one is given; one that is here already is left as it is."""
        answer = self._upload("/v1/banks", file, {"name": name} if name else {}, idempotency_key)
        return BankSummary.model_validate_json(answer.content)

    def rethreshold_bank(
        self, bank: str, threshold: int, of: int | None = None, name: str | None = None, key: str | None = None
    ) -> BankSummary:
        """Publish a bank decided anew by another threshold; its next version, or under another name."""
        return self._edit(bank, "rethreshold", {"threshold": threshold, "of": of, "name": name}, key)

    def rename_bank(self, bank: str, name: str, title: str | None = None, key: str | None = None) -> BankSummary:
        """Publish a bank under another name."""
        return self._edit(bank, "rename", {"name": name, "title": title}, key)

    def merge_banks(
        self,
        bank: str,
        other: str,
        name: str,
        title: str | None = None,
        threshold: int | None = None,
        of: int | None = None,
        key: str | None = None,
    ) -> BankSummary:
        """Publish the rows of two banks of the same network as one."""
        fields = {"with": other, "name": name, "title": title, "threshold": threshold, "of": of}
        return self._edit(bank, "merge", fields, key)

    # --- Data sets and classifiers

    def upload_dataset(
        self,
        archive: Source,
        name: str | None = None,
        idempotency_key: str | None = None,
        layout: Layout | None = None,
    ) -> DatasetRecord:
        """Upload a zip or tar of class folders; the same bytes give the same data set.

        Args:
            archive: The file.
            name: What to call it; the file's name where left out.
            idempotency_key: Makes it safe to send this call again.
            layout: How the names of its folders are read; recognised where left out.
        """
        fields = {key: value for key, value in (("name", name), ("layout", layout)) if value is not None}
        answer = self._upload("/v1/datasets", archive, fields, idempotency_key)
        return DatasetRecord.model_validate_json(answer.content)

    def datasets(self) -> Iterator[DatasetRecord]:
        """All data sets."""
        return map(DatasetRecord.model_validate, self._pages("/v1/datasets"))

    def dataset(self, dataset: str) -> DatasetRecord:
        """One data set, by id."""
        return DatasetRecord.model_validate_json(self._send("GET", f"/v1/datasets/{dataset}").content)

    def delete_dataset(self, dataset: str) -> None:
        """Delete a data set; refused while an audit uses it."""
        self._send("DELETE", f"/v1/datasets/{dataset}")

    def upload_classifier(
        self, file: Source, spec: ClassifierSpec, idempotency_key: str | None = None
    ) -> ClassifierRecord:
        """Upload a classifier, which is tried out before this returns; the same file and spec give the same one."""
        fields = {"spec": spec.model_dump_json(exclude_none=True)}
        answer = self._upload("/v1/classifiers", file, fields, idempotency_key)
        return ClassifierRecord.model_validate_json(answer.content)

    def classifiers(self) -> Iterator[ClassifierRecord]:
        """All classifiers."""
        return map(ClassifierRecord.model_validate, self._pages("/v1/classifiers"))

    def classifier(self, classifier: str) -> ClassifierRecord:
        """One classifier, by id."""
        return ClassifierRecord.model_validate_json(self._send("GET", f"/v1/classifiers/{classifier}").content)

    def delete_classifier(self, classifier: str) -> None:
        """Delete a classifier; refused while an audit uses it."""
        self._send("DELETE", f"/v1/classifiers/{classifier}")

    def upload_encoder(
        self, file: Source, spec: EncoderDeclaration, idempotency_key: str | None = None
    ) -> EncoderRecord:
        """Upload an encoder, which is tried out before this returns; the same weights and spec give the same one."""
        answer = self._upload("/v1/encoders", file, {"spec": spec.model_dump_json()}, idempotency_key)
        return EncoderRecord.model_validate_json(answer.content)

    def encoders(self) -> Iterator[EncoderRecord]:
        """All encoders of the store; a bank's is `bank:<name>` and not listed."""
        return map(EncoderRecord.model_validate, self._pages("/v1/encoders"))

    def encoder(self, encoder: str) -> EncoderRecord:
        """One encoder, by id."""
        return EncoderRecord.model_validate_json(self._send("GET", f"/v1/encoders/{encoder}").content)

    def delete_encoder(self, encoder: str) -> None:
        """Delete an encoder; refused while a job uses it."""
        self._send("DELETE", f"/v1/encoders/{encoder}")

    # --- Audits, discoveries and jobs

    def submit_audit(self, request: AuditRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue an audit. The same inputs are the same job: one that is done comes back finished."""
        return self._submit("/v1/audits", request, idempotency_key)

    def submit_discovery(self, request: DiscoveryRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue a discovery, as `submit_audit`."""
        return self._submit("/v1/discoveries", request, idempotency_key)

    def submit_training(self, request: TrainingRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue a training, as `submit_audit`."""
        return self._submit("/v1/trainings", request, idempotency_key)

    def submit_export(self, request: ExportRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue an export of masks, as `submit_audit`."""
        return self._submit("/v1/exports", request, idempotency_key)

    def submit_mitigation(self, request: MitigationRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue a mitigation, as `submit_audit`."""
        return self._submit("/v1/mitigations", request, idempotency_key)

    def mitigation_report(self, mitigation: str) -> MitigationReport:
        """What a finished mitigation brought and cost."""
        from jobs.mitigation_report import MitigationReport

        return MitigationReport.model_validate_json(self._send("GET", f"/v1/mitigations/{mitigation}/report").content)

    def download_mitigation(self, mitigation: str, name: str, target: Path) -> None:
        """Write one of its files, such as the changed classifier, to `target`, which is there whole or not at all."""
        self._download(f"/v1/mitigations/{mitigation}/artefacts/{quote(name)}", target)

    def exports(self) -> Iterator[JobRecord]:
        """All exports, the newest first."""
        return map(JobRecord.model_validate, self._pages("/v1/exports"))

    def export_manifest(self, export: str) -> ExportManifest:
        """What a finished export has written, and where."""
        path = f"/v1/exports/{export}/artefacts/manifest.json"
        return ExportManifest.model_validate_json(self._send("GET", path).content)

    def export_artefacts(self, export: str) -> Iterator[Artefact]:
        """The files that an export left so far."""
        return map(Artefact.model_validate, self._pages(f"/v1/exports/{export}/artefacts"))

    def download_export(self, export: str, name: str, target: Path) -> None:
        """Write one of its files to `target`, which is there whole or not at all."""
        self._download(f"/v1/exports/{export}/artefacts/{quote(name)}", target)

    def trainings(self) -> Iterator[JobRecord]:
        """All trainings, the newest first."""
        return map(JobRecord.model_validate, self._pages("/v1/trainings"))

    def training_epochs(self, training: str) -> Epochs:
        """The figures of its epochs so far; refused where none has ended, and for a linear head, which has none."""
        return Epochs.model_validate_json(self.training_file(training, "epochs.json"))

    def training_file(self, training: str, name: str) -> bytes:
        """A file of a training: `epochs.json` and `accuracy.png` while it runs, `training.json` at its end."""
        return self._send("GET", f"/v1/trainings/{training}/artefacts/{quote(name, safe='')}").content

    def discoveries(self) -> Iterator[JobRecord]:
        """All discoveries, the newest first."""
        return map(JobRecord.model_validate, self._pages("/v1/discoveries"))

    def draft(self, discovery: str) -> Draft:
        """What a finished discovery found, without the candidates."""
        return Draft.model_validate_json(self._send("GET", f"/v1/discoveries/{discovery}/draft").content)

    def draft_classes(self, discovery: str) -> Iterator[DraftSummary]:
        """The classes of its draft."""
        return map(DraftSummary.model_validate, self._pages(f"/v1/discoveries/{discovery}/draft/classes"))

    def draft_class(self, discovery: str, class_name: str) -> ClassAnswer:
        """The candidates of a class, by name or index."""
        path = f"/v1/discoveries/{discovery}/draft/classes/{quote(class_name, safe='')}"
        return ClassAnswer.model_validate_json(self._send("GET", path).content)

    def draft_picture(self, href: str) -> bytes:
        """A panel or a strip, JPEG, by the address that a class's answer gives."""
        return self._send("GET", href).content

    def jobs(self) -> Iterator[JobRecord]:
        """All jobs, the newest first."""
        return map(JobRecord.model_validate, self._pages("/v1/jobs"))

    def job(self, job: str) -> JobRecord:
        """One job, by id."""
        return JobRecord.model_validate_json(self._send("GET", f"/v1/jobs/{job}").content)

    def cancel(self, job: str) -> JobRecord:
        """Ask a job to stop; it does within one batch."""
        return JobRecord.model_validate_json(self._send("POST", f"/v1/jobs/{job}/cancel").content)

    def retry(self, job: str) -> JobRecord:
        """Queue a failed or cancelled job again; what is done of it is kept."""
        return JobRecord.model_validate_json(self._send("POST", f"/v1/jobs/{job}/retry").content)

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

    def report(self, audit: str) -> Report:
        """The report of a finished audit."""
        from jobs.report import Report

        return Report.model_validate_json(self.report_bytes(audit, "application/json"))

    def report_bytes(self, audit: str, media_type: str) -> bytes:
        """The report as it is kept: `application/json` or `text/html`."""
        return self._send("GET", f"/v1/audits/{audit}/report", headers={"Accept": media_type}).content

    def submit_comparison(self, request: ComparisonRequest, idempotency_key: str | None = None) -> JobRecord:
        """Queue a comparison of finished audits of the same pictures, as `submit_audit`."""
        return self._submit("/v1/comparisons", request, idempotency_key)

    def comparisons(self) -> Iterator[JobRecord]:
        """All comparisons, the newest first."""
        return map(JobRecord.model_validate, self._pages("/v1/comparisons"))

    def comparison(self, comparison: str) -> Comparison:
        """What a finished comparison found."""
        from jobs.comparison import Comparison

        return Comparison.model_validate_json(self._send("GET", f"/v1/comparisons/{comparison}/report").content)

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
            answer = self._send("POST", path, json=given)
        except Refused as error:
            if error.problem is None or error.problem.type != NOT_COMPARED:
                raise
            self._compared(audit, baseline or str((baseline_report or {}).get("audit")), (), wait)
            answer = self._send("POST", path, json=given)
        return Gate.model_validate_json(answer.content)

    # --- Annotations

    @property
    def annotations(self) -> AnnotationClient:
        """What owners of annotations do."""
        return AnnotationClient(self._send, self._pages)

    @property
    def label(self) -> LabelClient:
        """What annotators do, where the key is an invitation's token."""
        return LabelClient(self._send)

    # --- Webhooks

    @property
    def webhooks(self) -> WebhookClient:
        """Who is told when jobs end."""
        from service.webhooks import WebhookClient

        return WebhookClient(self._send)

    # --- The wire

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

    def _submit(self, path: str, request: BaseModel, idempotency_key: str | None) -> JobRecord:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        answer = self._send("POST", path, json=request.model_dump(exclude_defaults=True), headers=headers)
        return JobRecord.model_validate_json(answer.content)

    def _edit(self, bank: str, action: str, fields: Mapping[str, object], idempotency_key: str | None) -> BankSummary:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        given = {name: value for name, value in fields.items() if value is not None}
        answer = self._send("POST", f"/v1/banks/{bank}/{action}", json=given, headers=headers)
        return BankSummary.model_validate_json(answer.content)

    def _pages(self, path: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Any]:
        cursor: str | None = None
        while True:
            fields = {**(parameters or {}), **({"cursor": cursor} if cursor else {})}
            answer = self._send("GET", path, params=fields)
            page = Page[Any].model_validate_json(answer.content)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def _upload(
        self, path: str, source: Source, fields: Mapping[str, str], idempotency_key: str | None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        with ExitStack() as stack:
            file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
            name = Path(str(getattr(file, "name", "file"))).name
            timeout = _patient(self._http.timeout)
            return self._send("POST", path, files={"file": (name, file)}, data=fields, headers=headers, timeout=timeout)

    def _download(self, path: str, target: Path) -> None:
        part = target.with_name(f".{target.name}.part")
        try:
            with _translated(self._http.base_url), self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                    raise _error(answer)
                with part.open("wb") as file:
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _events(self, job: str) -> Iterator[JobRecord]:
        with (
            _translated(self._http.base_url),
            self._http.stream("GET", f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"}) as answer,
        ):
            if answer.is_error:
                answer.read()
                raise _error(answer)
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield JobRecord.model_validate_json(line.removeprefix("data:"))

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        with _translated(self._http.base_url):
            answer = self._http.request(method, path, **arguments)
        if answer.is_error:
            raise _error(answer)
        return answer


def _patient(usual: httpx.Timeout) -> httpx.Timeout:
    """For what takes longer than the answer to anything else: large archives, classifiers tried out."""
    return httpx.Timeout(usual.connect, read=600.0)


@contextmanager
def _translated(url: httpx.URL) -> Iterator[None]:
    """Turn what httpx raises into the errors of this module."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise Busy(f"{url} does not answer in time.") from error
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Busy(f"{url} cannot be reached: {error}.") from error


def _error(answer: httpx.Response) -> ClientError:
    """The error that an answer without success is."""
    try:
        problem = ProblemDetails.model_validate_json(answer.content)
    except ValueError:
        return Broken(f"{answer.url} answered {answer.status_code} {answer.reason_phrase}, and no problem document.")
    if answer.status_code in (429, 503):
        seconds = answer.headers.get("retry-after", "")
        return Busy(problem.detail, problem, float(seconds) if seconds.isdecimal() else None)
    return Refused(problem.detail, problem) if answer.status_code < 500 else Broken(problem.detail, problem)
