"""Jobs: what runs and what has run; follow, cancel and retry them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from jobs.errors import NotFound, Unavailable
from jobs.queue import JobQueue
from jobs.records import JobRecord
from service.auth import require
from service.limits import Connection
from service.problems import problem_responses
from service.schemas import Page

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(require("audit"))])

JobId = Annotated[str, Path(description="Id of the job.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=200, description="Most jobs per page.")]
REFUSED = ("unauthorised", "forbidden", "unavailable")

LOOK_SECONDS = 0.3
"""Pause between two looks at a job that is followed."""
KEEP_ALIVE_SECONDS = 10.0
"""Longest silence of a stream: proxies cut those that say nothing."""
PACE = ("rate", "seconds_left")
"""What changes with every look; a change in these alone is no event."""


@router.get("", operation_id="list_jobs", responses=problem_responses(*REFUSED, "invalid"))
def list_all(request: Request, cursor: Cursor = None, limit: Limit = 50) -> Page[JobRecord]:
    """All jobs, the newest first."""
    return page_of_jobs(request, cursor, limit)


@router.get("/{job}", operation_id="get_job", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, job: JobId) -> JobRecord:
    """One job as of now."""
    queue: JobQueue = request.app.state.queue
    return queue.get(job)


@router.post("/{job}/cancel", operation_id="cancel_job", responses=problem_responses(*REFUSED, "not-found", "conflict"))
def cancel(request: Request, job: JobId) -> JobRecord:
    """Stop a job. What is queued of it is dropped, what runs stops at its next batch; cancelling twice is no error."""
    queue: JobQueue = request.app.state.queue
    return queue.cancel(job)


@router.post(
    "/{job}/retry",
    operation_id="retry_job",
    status_code=202,
    responses=problem_responses(*REFUSED, "not-found", "conflict"),
)
def retry(request: Request, job: JobId) -> JobRecord:
    """Queue a failed or cancelled job again; what was finished of it is kept."""
    queue: JobQueue = request.app.state.queue
    return queue.retry(job)


@router.get(
    "/{job}/events",
    operation_id="follow_job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events. Each `data` is the job's record; the first comes at once, the last is "
            "the one with a final state, and then the stream ends. Comments keep a quiet stream alive.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": 'data: {"id": "...", ...}\n\n'}},
        },
        **problem_responses(*REFUSED, "not-found"),
    },
)
async def follow(request: Request, job: JobId) -> StreamingResponse:
    """Follow a job: its record now and after every change. Any number of listeners may; each can join at any time."""
    queue: JobQueue = request.app.state.queue
    first = await run_in_threadpool(queue.get, job)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(queue, first), media_type="text/event-stream", headers=headers)


def page_of_jobs(request: Request, cursor: str | None, limit: int, kind: str | None = None) -> Page[JobRecord]:
    """Up to `limit` jobs from the cursor on, the newest first; of one kind where it is named."""
    queue: JobQueue = request.app.state.queue
    page = queue.page(cursor, limit, kind)
    return Page[JobRecord](items=page.jobs, next=page.next)


async def _events(queue: JobQueue, record: JobRecord) -> AsyncIterator[str]:
    """Looks at the state rather than listen to messages: nothing is missed, and Redis may go and come back."""
    yield _event(record)
    said = time.monotonic()
    while not record.state.is_final:
        if await _closing_within(LOOK_SECONDS):
            return
        try:
            latest = await run_in_threadpool(queue.get, record.id)
        except NotFound:
            return
        except Unavailable:
            latest = record
        if latest.model_dump(exclude={*PACE}) != record.model_dump(exclude={*PACE}):
            record, said = latest, time.monotonic()
            yield _event(record)
        elif time.monotonic() - said > KEEP_ALIVE_SECONDS:
            said = time.monotonic()
            yield ": still the same\n\n"


def _event(record: JobRecord) -> str:
    return f"data: {record.model_dump_json()}\n\n"


async def _closing_within(seconds: float) -> bool:
    """Wait; whether the server was asked to stop, which ends all streams."""
    try:
        await asyncio.wait_for(Connection.closing.wait(), seconds)
    except TimeoutError:
        return False
    return True
