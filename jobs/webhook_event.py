"""The end of a job as a CloudEvent 1.0 in structured JSON.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field

from jobs.comparison_files import report_of
from jobs.errors import Invalid, NotFound
from jobs.figures import Figure
from jobs.findings import Verdict
from jobs.gate import Verdict as GateVerdict
from jobs.gate import judge
from jobs.gate_rules import read_rules
from jobs.records import JobRecord, JobState
from jobs.report import Report
from jobs.store import Store

log = structlog.get_logger()

SOURCE = "urn:cuecheck"
JOB_TYPE = "org.cuecheck.job."
PING_TYPE = "org.cuecheck.ping"


class GateData(BaseModel):
    """What the webhook's rules say."""

    verdict: GateVerdict | None = Field(description="null where the rules do not fit the audit.")
    answer: str


class AuditData(BaseModel):
    """What a finished audit found."""

    classifier: str = Field(description="Name.")
    classifier_version: str
    dataset: str = Field(description="Name.")
    bank: str = Field(description="Name.")
    answer: str
    verdict: Verdict
    flagged: list[str]
    headline: Figure
    gate: GateData | None = None


class JobData(BaseModel):
    """What an event carries."""

    job: JobRecord
    audit: AuditData | None = None
    links: dict[str, str]


class Event(BaseModel):
    """A CloudEvent."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(description="Equal for equal events: receivers drop what they have seen.")
    source: str
    type: str
    subject: str | None = None
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: dict[str, Any]

    def body(self) -> str:
        """As it is sent."""
        return self.model_dump_json(exclude_none=True)


def type_of(record: JobRecord) -> str:
    """Type of the event that tells the end of a job."""
    return JOB_TYPE + record.state.value


def finished_report(store: Store, record: JobRecord) -> Report | None:
    """The report of an audit that has succeeded; None for other jobs, and where it cannot be read.

    Raises:
        Unavailable: The store does not answer.
    """
    if record.kind != "audit" or record.state is not JobState.SUCCEEDED:
        return None
    try:
        return report_of(store, record.id, "the audit", "audit")
    except (NotFound, Invalid) as error:
        log.warning("no report to tell of", job=record.id, reason=error.message)
        return None


def end_of(record: JobRecord, report: Report | None, gate: str | None, public_url: str | None) -> Event:
    """The event of a job that has ended.

    Args:
        record: as the job ended.
        report: of an audit, as `finished_report` gives it.
        gate: rules to hold the audit against, or None.
        public_url: root of the service for others; links are paths without it.
    """
    finished = record.finished or record.created
    parts = (record.id, record.state, finished.isoformat(), gate if report is not None and gate else "")
    root = (public_url or "").rstrip("/")
    data = JobData(job=record, audit=None if report is None else _audit(report, gate), links=_links(record, root))
    return Event(
        id=hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32],
        source=root or SOURCE,
        type=type_of(record),
        subject=record.id,
        time=finished,
        data=data.model_dump(mode="json"),
    )


def _audit(report: Report, gate: str | None) -> AuditData:
    return AuditData(
        classifier=report.classifier.name,
        classifier_version=report.classifier.version,
        dataset=report.dataset.name,
        bank=report.bank.name,
        answer=report.answer,
        verdict=report.verdict,
        flagged=report.flagged,
        headline=report.headline,
        gate=None if gate is None else _gate(report, gate),
    )


def _gate(report: Report, rules: str) -> GateData:
    try:
        found = judge(report, read_rules(rules))
    except Invalid as error:
        return GateData(verdict=None, answer=f"{error.message} {error.remedy or ''}".strip())
    return GateData(verdict=found.verdict, answer=found.answer)


def _links(record: JobRecord, root: str) -> dict[str, str]:
    links = {"job": f"{root}/v1/jobs/{record.id}"}
    if record.state is JobState.SUCCEEDED and record.kind == "audit":
        links["report"] = f"{root}/v1/audits/{record.id}/report"
    return links
