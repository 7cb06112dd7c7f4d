"""Encoders: upload one with what it declares, list, get and delete."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from jobs.encoder_declaration import EncoderDeclaration
from jobs.encoder_record import EncoderRecord
from jobs.encoders import delete_encoder, get_encoder, import_encoder, list_encoders
from jobs.errors import Conflict
from jobs.queue import JobQueue
from jobs.store import file_sha256
from service.auth import Principal, require
from service.declarations import form, read_declaration
from service.idempotency import Done, IdempotencyKey, answer_once, fingerprint_of
from service.problems import problem_responses
from service.schemas import Page
from service.uploads import UPLOAD_REFUSED, Upload, receive

router = APIRouter(prefix="/v1/encoders", tags=["encoders"])

EncoderId = Annotated[str, Path(description="Id of the encoder.")]
Auditor = Annotated[Principal, Depends(require("audit"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")


@router.post(
    "",
    operation_id="upload_encoder",
    status_code=201,
    response_model=EncoderRecord,
    responses={
        200: {"description": "These weights so declared are here already.", "model": EncoderRecord},
        201: {"description": "Tried out and kept.", "headers": {"Location": {"schema": {"type": "string"}}}},
        **problem_responses(*REFUSED, *UPLOAD_REFUSED),
    },
    openapi_extra=form("Weights of a network: safetensors, or a file of torch.save.", EncoderDeclaration),
)
async def upload_encoder(request: Request, principal: Auditor, key: IdempotencyKey = None) -> Response:
    """Upload an encoder with what is known of it (classes, preprocessing, architecture).

    Files of torch.save are read as data: nothing in them is imported or run. The weights are kept as safetensors; an
    encoder without convolutional maps and a linear head is refused with the reason.
    """
    async with receive(request, request.app.state.queue.store) as upload:
        return await run_in_threadpool(_keep, request, upload, principal, key)


def _keep(request: Request, upload: Upload, principal: Principal, key: str | None) -> Response:
    queue: JobQueue = request.app.state.queue
    declared = read_declaration(EncoderDeclaration, upload.fields.get("spec"))
    content = hashlib.sha256(f"{declared.model_dump_json()}\n{file_sha256(upload.path)}".encode()).hexdigest()

    def act() -> Done:
        began = datetime.now(UTC)
        record = import_encoder(queue.store, upload.path, declared, queue.settings)
        status = 201 if record.created >= began else 200
        return Done(record.model_dump_json(), f"/v1/encoders/{record.id}", status)

    return answer_once(request, principal, key, fingerprint_of(content), act)


@router.get("", operation_id="list_encoders", responses=problem_responses(*REFUSED, "invalid"))
def list_all(
    request: Request,
    principal: Auditor,
    cursor: Annotated[str, Query(description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="Most encoders per page.")] = 100,
) -> Page[EncoderRecord]:
    """All encoders, by id. The backbone of every bank is one too, as `bank:<name>`; those are not listed here."""
    queue: JobQueue = request.app.state.queue
    records = list_encoders(queue.store, cursor, limit + 1)
    return Page[EncoderRecord](items=records[:limit], next=records[limit - 1].id if len(records) > limit else None)


@router.get("/{encoder}", operation_id="get_encoder", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Auditor, encoder: EncoderId) -> EncoderRecord:
    """One encoder: its specification, and the file it was read from."""
    queue: JobQueue = request.app.state.queue
    return get_encoder(queue.store, encoder)


@router.delete(
    "/{encoder}",
    operation_id="delete_encoder",
    status_code=204,
    responses=problem_responses(*REFUSED, "not-found", "conflict"),
)
def delete(request: Request, principal: Auditor, encoder: EncoderId) -> None:
    """Delete an encoder and its weights; drafts made with it stay. Refused while a job uses it."""
    queue: JobQueue = request.app.state.queue
    get_encoder(queue.store, encoder)
    if users := queue.users_of(encoder):
        raise Conflict(
            f"Job {users[0]} uses this encoder.", field="encoder", remedy="Cancel it, or wait for it to end."
        )
    delete_encoder(queue.store, encoder)
