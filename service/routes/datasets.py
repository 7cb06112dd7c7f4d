"""Data sets: upload an archive of class folders, list, get and delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from jobs.archives import ArchiveLimits
from jobs.datasets import (
    DatasetRecord,
    delete_dataset,
    get_dataset,
    get_dataset_laid_out,
    import_archive,
    list_datasets,
)
from jobs.errors import Conflict, Invalid, NotFound
from jobs.layouts import LAYOUTS, Layout
from jobs.queue import JobQueue
from jobs.store import file_sha256
from service.auth import Principal, require
from service.idempotency import Done, IdempotencyKey, answer_once, fingerprint_of
from service.problems import problem_responses
from service.schemas import Page
from service.uploads import UPLOAD_REFUSED, Upload, receive, upload_form

router = APIRouter(prefix="/v1/datasets", tags=["data sets"])

DatasetId = Annotated[str, Path(description="Id of the data set: the sha256 of the uploaded bytes.")]
Auditor = Annotated[Principal, Depends(require("audit"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")
MAX_NAME = 200

FORM = upload_form(
    "A zip or tar (also gz, bz2, xz) with the pictures of each class in a folder of that name.",
    {
        "name": {
            "type": "string",
            "maxLength": MAX_NAME,
            "description": "What to call it; the file's name if left out.",
        },
        "layout": {
            "type": "string",
            "enum": list(LAYOUTS),
            "description": "How the names of the folders are read; recognised if left out. "
            "`image_folder`: the class's name. `spurious_imagenet`: class index and component.",
        },
    },
)


@router.post(
    "",
    operation_id="upload_dataset",
    status_code=201,
    response_model=DatasetRecord,
    responses={
        200: {"description": "The same bytes are here already: the data set they are.", "model": DatasetRecord},
        201: {"description": "Indexed and kept.", "headers": {"Location": {"schema": {"type": "string"}}}},
        **problem_responses(*REFUSED, *UPLOAD_REFUSED, "conflict", "limit-exceeded"),
    },
    openapi_extra=FORM,
)
async def upload_dataset(request: Request, principal: Auditor, key: IdempotencyKey = None) -> Response:
    """Upload an archive. It is streamed to the store's disk, indexed once, and stored once however often it is sent.

    A member that is no picture of a class is listed as skipped with its reason; the data set is made of the others.
    """
    async with receive(request, request.app.state.queue.store) as upload:
        return await run_in_threadpool(_keep, request, upload, principal, key)


def _keep(request: Request, upload: Upload, principal: Principal, key: str | None) -> Response:
    queue: JobQueue = request.app.state.queue
    identifier = file_sha256(upload.path)
    name = (upload.fields.get("name") or upload.filename or identifier[:12])[:MAX_NAME]
    layout = _layout(upload.fields.get("layout"))

    def act() -> Done:
        try:
            record, status = get_dataset_laid_out(queue.store, identifier, layout), 200
        except NotFound:
            limits = ArchiveLimits.from_settings(queue.settings)
            record, status = import_archive(queue.store, upload.path, limits, name, layout), 201
        return Done(record.model_dump_json(), f"/v1/datasets/{record.id}", status)

    return answer_once(request, principal, key, fingerprint_of(identifier, name, layout or ""), act)


def _layout(given: str | None) -> Layout | None:
    if given is not None and given not in LAYOUTS:
        raise Invalid(f"There is no layout {given[:40]!r}.", field="layout", remedy=f"Use one of {', '.join(LAYOUTS)}.")
    return given


@router.get("", operation_id="list_datasets", responses=problem_responses(*REFUSED, "invalid"))
def list_all(
    request: Request,
    principal: Auditor,
    cursor: Annotated[str, Query(description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="Most data sets per page.")] = 100,
) -> Page[DatasetRecord]:
    """All data sets, by id."""
    queue: JobQueue = request.app.state.queue
    records = list_datasets(queue.store, cursor, limit + 1)
    return Page[DatasetRecord](items=records[:limit], next=records[limit - 1].id if len(records) > limit else None)


@router.get("/{dataset}", operation_id="get_dataset", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Auditor, dataset: DatasetId) -> DatasetRecord:
    """One data set: its classes, how many pictures each has, and what was left out."""
    queue: JobQueue = request.app.state.queue
    return get_dataset(queue.store, dataset)


@router.delete(
    "/{dataset}",
    operation_id="delete_dataset",
    status_code=204,
    responses=problem_responses(*REFUSED, "not-found", "conflict"),
)
def delete(request: Request, principal: Auditor, dataset: DatasetId) -> None:
    """Delete a data set and its archive; reports made of it stay. Refused while an audit uses it."""
    queue: JobQueue = request.app.state.queue
    get_dataset(queue.store, dataset)
    if users := queue.users_of(dataset):
        raise Conflict(
            f"Audit {users[0]} uses this data set.", field="dataset", remedy="Cancel it, or wait for it to end."
        )
    delete_dataset(queue.store, dataset)
