"""Banks as files: one out of the service, one into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from jobs.bank_file import export_bank, file_name, import_bank
from jobs.queue import JobQueue
from jobs.settings import MIB
from jobs.store import Store, file_sha256
from service.auth import Principal, require
from service.banks import Banks
from service.idempotency import Done, IdempotencyKey, answer_once, fingerprint_of
from service.problems import problem_responses
from service.routes.banks import BankName, describe
from service.schemas import BankSummary
from service.uploads import UPLOAD_REFUSED, Upload, receive, upload_form

router = APIRouter(prefix="/v1/banks", tags=["banks"])

Annotator = Annotated[Principal, Depends(require("annotate"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")
MEDIA_TYPE = "application/zip"

FORM = upload_form(
    "What an export gave.",
    {"name": {"type": "string", "description": "What to call it here; its own name if left out."}},
)


@router.get(
    "/{bank}/export",
    operation_id="export_bank",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A zip: manifest, weights, pictures and answers. The same bank is the same bytes.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            "headers": {"ETag": {"description": "The bank's digest.", "schema": {"type": "string"}}},
        },
        **problem_responses(*REFUSED, "unknown-bank", "invalid"),
    },
)
def export(request: Request, principal: Annotator, bank: BankName) -> StreamingResponse:
    """A whole bank as one file, to be kept or sent to another service. Mind its licence."""
    banks: Banks = request.app.state.banks
    store: Store = request.app.state.store
    found = banks.get(bank)
    with store.scratch_file() as path:
        export_bank(found, path)
        file = path.open("rb")  # stays readable without its name, however the answer ends
    headers = {
        "ETag": f'"{found.digest}"',
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": f'attachment; filename="{file_name(found)}"',
    }
    return StreamingResponse(_pieces(file), headers=headers, media_type=MEDIA_TYPE)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(MIB):
            yield piece


@router.post(
    "",
    operation_id="import_bank",
    status_code=201,
    response_model=BankSummary,
    responses={
        200: {"description": "This very bank is here already.", "model": BankSummary},
        201: {"description": "Checked and kept.", "headers": {"Location": {"schema": {"type": "string"}}}},
        **problem_responses(*REFUSED, *UPLOAD_REFUSED, "conflict", "limit-exceeded"),
    },
    openapi_extra=FORM,
)
async def take(request: Request, principal: Annotator, key: IdempotencyKey = None) -> Response:
    """Take a bank from a file, checked whole before it answers to its name.

    One that was made from the bank of its name that is here becomes its next version; another bank of a name that is
    taken is a conflict, and can be given another name.
    """
    async with receive(request, request.app.state.store) as upload:
        return await run_in_threadpool(_keep, request, upload, principal, key)


def _keep(request: Request, upload: Upload, principal: Principal, key: str | None) -> Response:
    queue: JobQueue = request.app.state.queue
    name = upload.fields.get("name")

    def act() -> Done:
        found = import_bank(queue.settings, upload.path, name)
        summary = describe(found.bank).model_dump_json(exclude_none=True)
        return Done(summary, f"/v1/banks/{found.bank.digest}", 201 if found.new else 200)

    return answer_once(request, principal, key, fingerprint_of(file_sha256(upload.path), name or ""), act)
