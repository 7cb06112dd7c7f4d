"""Exports: submit one, list them, and read what they left: masks, tables, rankings and the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from jobs.export_files import PARTS
from jobs.export_request import ExportRequest
from jobs.queue import JobQueue
from jobs.records import JobRecord
from service.auth import Principal, require
from service.downloads import kept, send
from service.idempotency import IdempotencyKey
from service.job_files import SENT, file_of, shown
from service.job_submission import SUBMITTED, submit_job
from service.problems import problem_responses
from service.routes.jobs import Cursor, Limit, page_of_jobs
from service.schemas import Artefact, Page

router = APIRouter(prefix="/v1/exports", tags=["exports"])

ExportId = Annotated[str, Path(description="Id of the export, which is its job's.")]
Exporter = Annotated[Principal, Depends(require("audit"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")
EXAMPLE = {"dataset": "9b74c989...", "bank": "planted", "features": "spurious", "validity": "top:0.05"}


@router.post("", operation_id="submit_export", status_code=202, response_model=JobRecord, responses=SUBMITTED)
def submit(
    request: Request,
    principal: Exporter,
    wanted: Annotated[ExportRequest, Body(examples=[EXAMPLE])],
    key: IdempotencyKey = None,
) -> Response:
    """Queue an export: masks of a whole data set for a bank, and how spurious each of its pictures is.

    The job's id is the digest of all its inputs: the same inputs are the same job, and one that is done is not done
    again. Whether there is anything to write is found out here.
    """
    return submit_job(request, principal, wanted, key)


@router.get("", operation_id="list_exports", responses=problem_responses(*REFUSED, "invalid"))
def list_all(request: Request, principal: Exporter, cursor: Cursor = None, limit: Limit = 50) -> Page[JobRecord]:
    """All exports, the newest first."""
    return page_of_jobs(request, cursor, limit, "export")


@router.get("/{export}", operation_id="get_export", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Exporter, export: ExportId) -> JobRecord:
    """One export as of now."""
    queue: JobQueue = request.app.state.queue
    return queue.get(export, "export")


@router.get(
    "/{export}/artefacts",
    operation_id="list_export_artefacts",
    responses=problem_responses(*REFUSED, "not-found", "invalid"),
)
def list_artefacts(
    request: Request,
    principal: Exporter,
    export: ExportId,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most files per page.")] = 100,
) -> Page[Artefact]:
    """The files that an export left so far, by name; those of its shards are below masks/, rows/ and samples/."""
    queue: JobQueue = request.app.state.queue
    record = queue.get(export, "export")
    names = sorted([*queue.artefacts(record.id), *_of_shards(queue, record.id, PARTS)])
    page = [name for name in names if cursor is None or name >= cursor][: limit + 1]
    return Page[Artefact](
        items=shown(queue, record, page[:limit]),
        next=page[limit] if len(page) > limit else None,
    )


@router.get(
    "/{export}/artefacts/{name:path}",
    operation_id="get_export_artefact",
    response_class=StreamingResponse,
    responses=SENT,
)
def get_artefact(
    request: Request,
    principal: Exporter,
    export: ExportId,
    name: Annotated[str, Path(description="Name of the file.", examples=["manifest.json"])],
) -> Response:
    """One file, streamed; a single `Range` of bytes may be asked for."""
    queue: JobQueue = request.app.state.queue
    record = queue.get(export, "export")
    part = name.partition("/")[0]
    among = _of_shards(queue, record.id, [part]) if part in PARTS else queue.artefacts(record.id)
    return send(request, queue.store, kept(file_of(queue, record, name, among)))


def _of_shards(queue: JobQueue, export: str, parts: Iterable[str]) -> list[str]:
    return [f"{part}/{name}" for part in parts for name in queue.store.list(queue.file(export, part))]
