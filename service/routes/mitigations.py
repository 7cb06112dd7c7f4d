"""Mitigations: submit one, list them, and read what they left: the report, the changed classifier, both audits."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse

from jobs.mitigation_request import MitigationRequest
from jobs.queue import JobQueue
from jobs.records import JobRecord
from service.auth import Principal, require
from service.downloads import HTML, JSON, MARKDOWN, kept, send
from service.idempotency import IdempotencyKey
from service.job_files import SENT, file_of, send_report, shown
from service.job_submission import SUBMITTED, submit_job
from service.problems import problem_responses
from service.routes.jobs import Cursor, Limit, page_of_jobs
from service.schemas import Artefact, Page

router = APIRouter(prefix="/v1/mitigations", tags=["mitigations"])

MitigationId = Annotated[str, Path(description="Id of the mitigation, which is its job's.")]
Auditor = Annotated[Principal, Depends(require("audit"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")
REPORTS = {JSON: "mitigation.json", HTML: "mitigation.html", MARKDOWN: "mitigation.md"}
EXAMPLE = {"classifier": "5e8848...", "dataset": "9b74c989...", "bank": "planted", "method": "head-refit"}


@router.post("", operation_id="submit_mitigation", status_code=202, response_model=JobRecord, responses=SUBMITTED)
def submit(
    request: Request,
    principal: Auditor,
    wanted: Annotated[MitigationRequest, Body(examples=[EXAMPLE])],
    key: IdempotencyKey = None,
) -> Response:
    """Queue a mitigation: a classifier that relies less on spurious features is made of another, and both are audited.

    The job's id is the digest of all its inputs. Whether the classifier's scores come from a linear layer, which both
    methods change, is found out here.
    """
    return submit_job(request, principal, wanted, key)


@router.get("", operation_id="list_mitigations", responses=problem_responses(*REFUSED, "invalid"))
def list_all(request: Request, principal: Auditor, cursor: Cursor = None, limit: Limit = 50) -> Page[JobRecord]:
    """All mitigations, the newest first."""
    return page_of_jobs(request, cursor, limit, "mitigation")


@router.get("/{mitigation}", operation_id="get_mitigation", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Auditor, mitigation: MitigationId) -> JobRecord:
    """One mitigation as of now."""
    queue: JobQueue = request.app.state.queue
    return queue.get(mitigation, "mitigation")


@router.get(
    "/{mitigation}/report",
    operation_id="get_mitigation_report",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Before and after, as `Accept` asks: JSON, one self-contained page, or Markdown.",
            "content": {
                JSON: {"schema": {"type": "object"}},
                HTML: {"schema": {"type": "string"}},
                MARKDOWN: {"schema": {"type": "string"}},
            },
        },
        **problem_responses(*REFUSED, "not-found", "not-acceptable", "conflict"),
    },
)
def report(request: Request, principal: Auditor, mitigation: MitigationId) -> Response:
    """What a mitigation brought and cost; readable without Redis."""
    return send_report(request, mitigation, "mitigation", REPORTS)


@router.get(
    "/{mitigation}/artefacts",
    operation_id="list_mitigation_artefacts",
    responses=problem_responses(*REFUSED, "not-found"),
)
def list_artefacts(request: Request, principal: Auditor, mitigation: MitigationId) -> Page[Artefact]:
    """The files that a mitigation left so far, the changed classifier among them."""
    queue: JobQueue = request.app.state.queue
    record = queue.get(mitigation, "mitigation")
    return Page[Artefact](items=shown(queue, record, sorted(queue.artefacts(record.id))), next=None)


@router.get(
    "/{mitigation}/artefacts/{name}",
    operation_id="get_mitigation_artefact",
    response_class=StreamingResponse,
    responses=SENT,
)
def get_artefact(
    request: Request,
    principal: Auditor,
    mitigation: MitigationId,
    name: Annotated[str, Path(description="Name of the file.", examples=["patched.onnx"])],
) -> Response:
    """One file, streamed; a single `Range` of bytes may be asked for."""
    queue: JobQueue = request.app.state.queue
    record = queue.get(mitigation, "mitigation")
    return send(request, queue.store, kept(file_of(queue, record, name, queue.artefacts(record.id))))
