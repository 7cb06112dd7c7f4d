"""Trainings: submit one, list them, and read what they leave: accuracies by epoch, and the encoder they end in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse

from jobs.queue import JobQueue
from jobs.records import JobRecord, JobState
from jobs.training_request import TrainingRequest
from service.auth import Principal, require
from service.downloads import JSON, PNG, kept, media_type_of, send
from service.idempotency import IdempotencyKey
from service.job_files import file_of
from service.job_submission import SUBMITTED, submit_job
from service.problems import problem_responses
from service.routes.jobs import Cursor, Limit, page_of_jobs
from service.schemas import Page

router = APIRouter(prefix="/v1/trainings", tags=["trainings"])

TrainingId = Annotated[str, Path(description="Id of the training, which is its job's.")]
Submitter = Annotated[Principal, Depends(require("audit"))]
REFUSED = ("unauthorised", "forbidden", "unavailable")
CHANGING = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of the files of a training that has not succeeded: the next epoch may change them."""
EXAMPLE = {"dataset": "9b74c989...", "route": "linear_head", "encoder": "bank:planted", "name": "mine"}


@router.post("", operation_id="submit_training", status_code=202, response_model=JobRecord, responses=SUBMITTED)
def submit(
    request: Request,
    principal: Submitter,
    wanted: Annotated[TrainingRequest, Body(examples=[EXAMPLE])],
    key: IdempotencyKey = None,
) -> Response:
    """Queue a training: an adversarially trained network, or a linear head on an encoder's features.

    It ends in an encoder, which `training.json` names. The job's id is the digest of all its inputs: the same inputs
    are the same job, and one that is done is not done again.
    """
    return submit_job(request, principal, wanted, key)


@router.get("", operation_id="list_trainings", responses=problem_responses(*REFUSED, "invalid"))
def list_all(request: Request, principal: Submitter, cursor: Cursor = None, limit: Limit = 50) -> Page[JobRecord]:
    """All trainings, the newest first."""
    return page_of_jobs(request, cursor, limit, "training")


@router.get("/{training}", operation_id="get_training", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Submitter, training: TrainingId) -> JobRecord:
    """One training as of now."""
    queue: JobQueue = request.app.state.queue
    return queue.get(training, "training")


@router.get(
    "/{training}/artefacts/{name}",
    operation_id="get_training_artefact",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file: JSON, or the plot.",
            "content": {JSON: {"schema": {"type": "object"}}, PNG: {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {
            "description": "The part that `Range` asks for, of a training that has succeeded.",
            "content": {"application/octet-stream": {}},
        },
        **problem_responses(*REFUSED, "not-found", "range"),
    },
)
def get_artefact(
    request: Request,
    principal: Submitter,
    training: TrainingId,
    name: Annotated[
        str, Path(description="`epochs.json` and `accuracy.png` while it runs, `training.json` at the end.")
    ],
) -> Response:
    """One of its files; those about epochs are written anew after each of them."""
    queue: JobQueue = request.app.state.queue
    record = queue.get(training, "training")
    file = file_of(queue, record, name, queue.artefacts(record.id))
    if record.state is JobState.SUCCEEDED:
        return send(request, queue.store, kept(file))
    # Read at once: streamed, it could begin as one epoch left it and end as the next did.
    return Response(queue.store.read_bytes(file), headers=CHANGING, media_type=media_type_of(name))
