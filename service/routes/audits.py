"""Audits: submit one, list them, and read what they left: the report and the artefacts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from jobs.audit import AuditRequest
from jobs.errors import NotFound
from jobs.queue import JobQueue
from jobs.records import JobRecord, JobState
from jobs.store import Store
from service.auth import Principal, require
from service.idempotency import Idempotency, IdempotencyKey, fingerprint_of
from service.media import best_media_type
from service.problems import Problem, problem_responses
from service.ranges import requested_range
from service.routes.jobs import Cursor, Limit
from service.schemas import Page

router = APIRouter(prefix="/v1/audits", tags=["audits"])

AuditId = Annotated[str, Path(description="Id of the audit, which is its job's.")]
Auditor = Annotated[Principal, Depends(require("audit"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")
JSON, HTML = "application/json", "text/html"
MEDIA_TYPES = {
    "json": JSON,
    "html": "text/html; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
}
CHUNK = 2**18
HTML_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
"""A report shows names that strangers chose: in a sandbox even one that slipped through could not reach the service."""


class Artefact(BaseModel):
    """A file that an audit left."""

    name: str = Field(examples=["report.json"])
    bytes: int
    media_type: str = Field(examples=[JSON])
    href: str = Field(description="Where it is downloaded.", examples=["/v1/audits/3f2a.../artefacts/report.json"])


class Artefacts(BaseModel):
    """All files that an audit left."""

    artefacts: list[Artefact]


class _File(NamedTuple):
    """A file of the store on its way out."""

    name: str
    media_type: str
    headers: dict[str, str]


@router.post(
    "",
    operation_id="submit_audit",
    status_code=202,
    response_model=JobRecord,
    responses={
        200: {"description": "An audit of the same inputs has succeeded before: its job.", "model": JobRecord},
        202: {
            "description": "Queued, or queued before and not done yet.",
            "headers": {"Location": {"description": "The job.", "schema": {"type": "string"}}},
        },
        **problem_responses(
            *REFUSED, "malformed", "not-found", "invalid", "unknown-class", "key-reused", "limit-exceeded"
        ),
    },
)
def submit(request: Request, principal: Auditor, wanted: AuditRequest, key: IdempotencyKey = None) -> Response:
    """Queue an audit of a classifier on a data set with a bank.

    The job's id is the digest of all its inputs: the same inputs are the same job, and one that is done is not done
    again. Whether the classes of data set, classifier and bank meet is found out here.
    """
    queue: JobQueue = request.app.state.queue
    idempotency: Idempotency = request.app.state.idempotency

    def act() -> Response:
        record = queue.submit_audit(wanted)
        status = 200 if record.state.is_final else 202
        headers = {"Location": f"/v1/jobs/{record.id}"}
        return Response(record.model_dump_json(), status, headers, media_type=JSON)

    return idempotency.once(key, principal.id, "POST /v1/audits", fingerprint_of(wanted.model_dump_json()), act)


@router.get("", operation_id="list_audits", responses=problem_responses(*REFUSED, "invalid"))
def list_all(request: Request, principal: Auditor, cursor: Cursor = None, limit: Limit = 50) -> Page[JobRecord]:
    """All audits, the newest first."""
    queue: JobQueue = request.app.state.queue
    page = queue.page(cursor, limit)
    return Page[JobRecord](items=page.jobs, next=page.next)


@router.get("/{audit}", operation_id="get_audit", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Auditor, audit: AuditId) -> JobRecord:
    """One audit as of now."""
    queue: JobQueue = request.app.state.queue
    return queue.get(audit)


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
    queue: JobQueue = request.app.state.queue
    kind = "json" if best_media_type(request.headers.get("accept"), (JSON, HTML)) == JSON else "html"
    record = queue.get(audit)
    if record.state is not JobState.SUCCEEDED:
        raise Problem(
            "conflict",
            f"The audit is {record.state}{f': {record.message}' if record.message else ''}; it has no report.",
            field="audit",
            remedy=None if record.state.is_final else "Follow its job, and ask again when it has succeeded.",
            headers={} if record.state.is_final else {"Retry-After": "5"},
        )
    return _send(request, queue.store, _file(audit, f"report.{kind}", {"Vary": "Accept"}))


@router.get("/{audit}/artefacts", operation_id="list_artefacts", responses=problem_responses(*REFUSED, "not-found"))
def list_artefacts(request: Request, principal: Auditor, audit: AuditId) -> Artefacts:
    """The files that an audit left so far."""
    queue: JobQueue = request.app.state.queue
    record = queue.get(audit)
    return Artefacts(
        artefacts=[
            Artefact(
                name=name,
                bytes=queue.store.size(f"audits/{record.id}/{name}"),
                media_type=_media_type(name),
                href=f"/v1/audits/{record.id}/artefacts/{name}",
            )
            for name in queue.artefacts(record.id)
        ]
    )


@router.get(
    "/{audit}/artefacts/{name:path}",
    operation_id="get_artefact",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The file.", "content": {"application/octet-stream": {}}},
        206: {"description": "The part that `Range` asks for.", "content": {"application/octet-stream": {}}},
        **problem_responses(*REFUSED, "not-found", "range"),
    },
)
def get_artefact(
    request: Request, principal: Auditor, audit: AuditId, name: Annotated[str, Path(description="Name of the file.")]
) -> Response:
    """One file, streamed; a single `Range` of bytes may be asked for."""
    queue: JobQueue = request.app.state.queue
    record = queue.get(audit)
    if name not in queue.artefacts(record.id):
        raise NotFound(f"Audit {record.id} has no file {name[:100]!r}.", field="name")
    return _send(request, queue.store, _file(record.id, name, {}))


def _file(audit: str, name: str, headers: dict[str, str]) -> _File:
    media_type = _media_type(name)
    # What an audit has left never changes: the id stands for everything that decides its bytes.
    headers = {**headers, "Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
    if media_type.startswith(HTML):
        headers["Content-Security-Policy"] = HTML_POLICY
    return _File(f"audits/{audit}/{name}", media_type, headers)


def _media_type(name: str) -> str:
    return MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def _send(request: Request, store: Store, file: _File) -> Response:
    """Stream a file, or the part of it that was asked for; it is never held whole."""
    size = store.size(file.name)
    start, stop = requested_range(request.headers.get("range"), size)
    headers = {**file.headers, "Accept-Ranges": "bytes", "Content-Length": str(stop - start)}
    status = 200
    if stop - start < size:
        status = 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return StreamingResponse(_chunks(store, file.name, start, stop), status, headers, file.media_type)


def _chunks(store: Store, name: str, start: int, stop: int) -> Iterator[bytes]:
    with store.open(name) as stream:
        stream.seek(start)
        while start < stop and (chunk := stream.read(min(CHUNK, stop - start))):
            start += len(chunk)
            yield chunk
