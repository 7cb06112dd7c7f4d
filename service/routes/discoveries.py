"""Discoveries: submit one, list them, and read the draft it left: its classes, their candidates and panels."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from jobs.discovery_request import DiscoveryRequest
from jobs.queue import JobQueue
from jobs.records import JobRecord
from models.draft import Draft, DraftSummary
from service.auth import Principal, require
from service.downloads import JPEG, JSON, kept, send
from service.drafts import ClassAnswer, drafted, read_class, read_draft, sprite_file
from service.idempotency import IdempotencyKey
from service.job_submission import SUBMITTED, submit_job
from service.problems import problem_responses
from service.routes.banks import position
from service.routes.jobs import Cursor, Limit, page_of_jobs
from service.schemas import Page

router = APIRouter(prefix="/v1/discoveries", tags=["discoveries"])

DiscoveryId = Annotated[str, Path(description="Id of the discovery, which is its job's.")]
PictureName = Annotated[str, Path(description="Name of the file.")]
Submitter = Annotated[Principal, Depends(require("audit"))]
Reader = Annotated[Principal, Depends(require("annotate", "audit"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")
EXAMPLE = {"dataset": "9b74c989...", "encoder": "bank:planted", "channels": 5, "components": 3}
SPRITE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Square tiles side by side.",
        "content": {JPEG: {"schema": {"type": "string", "format": "binary"}}},
    },
    206: {"description": "The part that `Range` asks for.", "content": {JPEG: {}}},
    **problem_responses(*REFUSED, "not-found", "conflict", "range"),
}


@router.post("", operation_id="submit_discovery", status_code=202, response_model=JobRecord, responses=SUBMITTED)
def submit(
    request: Request,
    principal: Submitter,
    wanted: Annotated[DiscoveryRequest, Body(examples=[EXAMPLE])],
    key: IdempotencyKey = None,
) -> Response:
    """Queue a discovery: look over a data set with an encoder for the features that each class rests on.

    The job's id is the digest of all its inputs: the same inputs are the same job, and one that is done is not done
    again. Whether the classes of data set and encoder meet is found out here.
    """
    return submit_job(request, principal, wanted, key)


@router.get("", operation_id="list_discoveries", responses=problem_responses(*REFUSED, "invalid"))
def list_all(request: Request, principal: Reader, cursor: Cursor = None, limit: Limit = 50) -> Page[JobRecord]:
    """All discoveries, the newest first."""
    return page_of_jobs(request, cursor, limit, "discovery")


@router.get("/{discovery}", operation_id="get_discovery", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Reader, discovery: DiscoveryId) -> JobRecord:
    """One discovery as of now."""
    queue: JobQueue = request.app.state.queue
    return queue.get(discovery, "discovery")


@router.get(
    "/{discovery}/draft",
    operation_id="get_draft",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The draft.", "model": Draft, "content": {JSON: {}}},
        **problem_responses(*REFUSED, "not-found", "conflict"),
    },
)
def draft(request: Request, principal: Reader, discovery: DiscoveryId) -> Response:
    """What a discovery that has succeeded found: encoder, figures, and its classes; readable without Redis."""
    queue: JobQueue = request.app.state.queue
    record = drafted(queue, discovery)
    return send(request, queue.store, kept(queue.file(record.id, "draft.json")))


@router.get(
    "/{discovery}/draft/classes",
    operation_id="list_draft_classes",
    responses=problem_responses(*REFUSED, "not-found", "conflict", "invalid"),
)
def list_classes(
    request: Request,
    principal: Reader,
    discovery: DiscoveryId,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most classes per page.")] = 100,
) -> Page[DraftSummary]:
    """A draft's classes in the order of their indices, and how many candidates each has."""
    queue: JobQueue = request.app.state.queue
    start = position(cursor)
    page = [one for one in read_draft(queue, discovery).classes if one.index >= start]
    return Page[DraftSummary](items=page[:limit], next=str(page[limit].index) if len(page) > limit else None)


@router.get(
    "/{discovery}/draft/classes/{class_key}",
    operation_id="get_draft_class",
    responses=problem_responses(*REFUSED, "not-found", "conflict"),
)
def get_class(
    request: Request,
    principal: Reader,
    discovery: DiscoveryId,
    class_key: Annotated[str, Path(description="Name of the class, or its index.", examples=["beetle"])],
) -> ClassAnswer:
    """The candidates of a class by rank, with figures, exemplars, and where their panels are."""
    queue: JobQueue = request.app.state.queue
    return read_class(queue, read_draft(queue, discovery), class_key)


@router.get(
    "/{discovery}/draft/panels/{name}", operation_id="get_panel", response_class=StreamingResponse, responses=SPRITE
)
def panel(request: Request, principal: Reader, discovery: DiscoveryId, name: PictureName) -> Response:
    """The panel of a candidate: a column per exemplar; in the rows the pictures, their heat maps, and the attacks."""
    queue: JobQueue = request.app.state.queue
    return send(request, queue.store, kept(sprite_file(queue, discovery, "panels", name)))


@router.get(
    "/{discovery}/draft/strips/{name}", operation_id="get_strip", response_class=StreamingResponse, responses=SPRITE
)
def strip(request: Request, principal: Reader, discovery: DiscoveryId, name: PictureName) -> Response:
    """Examples of a class, side by side."""
    queue: JobQueue = request.app.state.queue
    return send(request, queue.store, kept(sprite_file(queue, discovery, "strips", name)))
