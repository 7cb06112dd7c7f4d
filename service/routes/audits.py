"""Audits: submit one, list them, and read what they left: the report and the artefacts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from jobs.audit_request import AuditRequest
from jobs.queue import JobQueue
from jobs.records import JobRecord
from service.auth import Principal, require
from service.downloads import HTML, JSON, kept, send
from service.idempotency import IdempotencyKey
from service.job_files import SENT, file_of, send_report, shown
from service.job_submission import SUBMITTED, submit_job
from service.problems import problem_responses
from service.routes.jobs import Cursor, Limit, page_of_jobs
from service.schemas import Artefact, Page

router = APIRouter(prefix="/v1/audits", tags=["audits"])

AuditId = Annotated[str, Path(description="Id of the audit, which is its job's.")]
Auditor = Annotated[Principal, Depends(require("audit"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")
REPORTS = {JSON: "report.json", HTML: "report.html"}


class Artefacts(BaseModel):
    """All files that an audit left."""

    artefacts: list[Artefact]


@router.post(
    "",
    operation_id="submit_audit",
    status_code=202,
    response_model=JobRecord,
    responses=SUBMITTED | problem_responses("invalid", "unknown-class", "key-reused"),
)
def submit(request: Request, principal: Auditor, wanted: AuditRequest, key: IdempotencyKey = None) -> Response:
    """Queue an audit of a classifier on a data set with a bank.

    The job's id is the digest of all its inputs: the same inputs are the same job, and one that is done is not done
    again. Whether the classes of data set, classifier and bank meet is found out here.
    """
    return submit_job(request, principal, wanted, key)


@router.get("", operation_id="list_audits", responses=problem_responses(*REFUSED, "invalid"))
def list_all(request: Request, principal: Auditor, cursor: Cursor = None, limit: Limit = 50) -> Page[JobRecord]:
    """All audits, the newest first."""
    return page_of_jobs(request, cursor, limit, "audit")


@router.get("/{audit}", operation_id="get_audit", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Auditor, audit: AuditId) -> JobRecord:
    """One audit as of now."""
    queue: JobQueue = request.app.state.queue
    return queue.get(audit, "audit")


@router.get(
    "/{audit}/report",
    operation_id="get_report",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The report, as `Accept` asks: JSON (docs/report.schema.json), or one self-contained page.",
            "content": {JSON: {"schema": {"type": "object"}}, HTML: {"schema": {"type": "string"}}},
        },
        **problem_responses(*REFUSED, "not-found", "not-acceptable", "conflict"),
    },
)
def report(request: Request, principal: Auditor, audit: AuditId) -> Response:
    """The report of an audit that has succeeded; readable without Redis."""
    return send_report(request, audit, "audit", REPORTS)


@router.get("/{audit}/artefacts", operation_id="list_artefacts", responses=problem_responses(*REFUSED, "not-found"))
def list_artefacts(request: Request, principal: Auditor, audit: AuditId) -> Artefacts:
    """The files that an audit left so far."""
    queue: JobQueue = request.app.state.queue
    record = queue.get(audit, "audit")
    return Artefacts(artefacts=shown(queue, record, queue.artefacts(record.id)))


@router.get(
    "/{audit}/artefacts/{name:path}",
    operation_id="get_artefact",
    response_class=StreamingResponse,
    responses=SENT,
)
def get_artefact(
    request: Request, principal: Auditor, audit: AuditId, name: Annotated[str, Path(description="Name of the file.")]
) -> Response:
    """One file, streamed; a single `Range` of bytes may be asked for."""
    queue: JobQueue = request.app.state.queue
    record = queue.get(audit, "audit")
    return send(request, queue.store, kept(file_of(queue, record, name, queue.artefacts(record.id))))
