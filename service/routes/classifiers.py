"""Classifiers: upload one with what it declares, list, get and delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from jobs.classifiers import (
    ClassifierRecord,
    classifier_id,
    delete_classifier,
    get_classifier,
    import_classifier,
    list_classifiers,
)
from jobs.errors import Conflict, NotFound
from jobs.queue import JobQueue
from jobs.store import file_sha256
from models.classifiers.spec import ClassifierSpec
from service.auth import Principal, require
from service.declarations import form, read_declaration
from service.idempotency import Done, IdempotencyKey, answer_once, fingerprint_of
from service.problems import problem_responses
from service.schemas import Page
from service.uploads import UPLOAD_REFUSED, Upload, receive

router = APIRouter(prefix="/v1/classifiers", tags=["classifiers"])

ClassifierId = Annotated[str, Path(description="Id of the classifier.")]
Auditor = Annotated[Principal, Depends(require("audit"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")


@router.post(
    "",
    operation_id="upload_classifier",
    status_code=201,
    response_model=ClassifierRecord,
    responses={
        200: {"description": "The same file so declared is here already.", "model": ClassifierRecord},
        201: {"description": "Tried out and kept.", "headers": {"Location": {"schema": {"type": "string"}}}},
        **problem_responses(*REFUSED, *UPLOAD_REFUSED),
    },
    openapi_extra=form("The ONNX or safetensors file.", ClassifierSpec),
)
async def upload_classifier(request: Request, principal: Auditor, key: IdempotencyKey = None) -> Response:
    """Upload a classifier with its specification (format, classes, preprocessing).

    It is read without being run, then tried out in a separate, limited process; one that does not pass is refused with
    the reason and not kept.
    """
    async with receive(request, request.app.state.queue.store) as upload:
        return await run_in_threadpool(_keep, request, upload, principal, key)


def _keep(request: Request, upload: Upload, principal: Principal, key: str | None) -> Response:
    queue: JobQueue = request.app.state.queue
    spec = read_declaration(ClassifierSpec, upload.fields.get("spec"))
    identifier = classifier_id(spec, file_sha256(upload.path))

    def act() -> Done:
        try:
            record, status = get_classifier(queue.store, identifier), 200
        except NotFound:
            record, status = import_classifier(queue.store, upload.path, spec, queue.settings), 201
        return Done(record.model_dump_json(), f"/v1/classifiers/{record.id}", status)

    return answer_once(request, principal, key, fingerprint_of(identifier), act)


@router.get("", operation_id="list_classifiers", responses=problem_responses(*REFUSED, "invalid"))
def list_all(
    request: Request,
    principal: Auditor,
    cursor: Annotated[str, Query(description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="Most classifiers per page.")] = 100,
) -> Page[ClassifierRecord]:
    """All classifiers, by id."""
    queue: JobQueue = request.app.state.queue
    records = list_classifiers(queue.store, cursor, limit + 1)
    return Page[ClassifierRecord](items=records[:limit], next=records[limit - 1].id if len(records) > limit else None)


@router.get("/{classifier}", operation_id="get_classifier", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Auditor, classifier: ClassifierId) -> ClassifierRecord:
    """One classifier: what it declares, and what its trial run found."""
    queue: JobQueue = request.app.state.queue
    return get_classifier(queue.store, classifier)


@router.delete(
    "/{classifier}",
    operation_id="delete_classifier",
    status_code=204,
    responses=problem_responses(*REFUSED, "not-found", "conflict"),
)
def delete(request: Request, principal: Auditor, classifier: ClassifierId) -> None:
    """Delete a classifier and its file; reports made of it stay. Refused while an audit uses it."""
    queue: JobQueue = request.app.state.queue
    get_classifier(queue.store, classifier)
    if users := queue.users_of(classifier):
        raise Conflict(
            f"Audit {users[0]} uses this classifier.", field="classifier", remedy="Cancel it, or wait for it to end."
        )
    delete_classifier(queue.store, classifier)
