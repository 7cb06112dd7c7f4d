"""Submitting a job over HTTP, whatever its kind, and asking for what only one that has succeeded has."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from jobs.errors import NotFound
from jobs.queue import JobQueue
from jobs.records import JobRecord, JobState
from service.auth import Principal
from service.idempotency import Done, answer_once, fingerprint_of
from service.problems import Problem, problem_responses

SUBMITTED: dict[int | str, dict[str, Any]] = {
    200: {"description": "A job of the same inputs has succeeded before: its record.", "model": JobRecord},
    202: {
        "description": "Queued, or queued before and not done yet.",
        "headers": {"Location": {"description": "The job.", "schema": {"type": "string"}}},
    },
    **problem_responses(
        "unauthorised", "forbidden", "unavailable", "malformed", "not-found", "invalid", "key-reused", "limit-exceeded"
    ),
}
"""The `responses=` of a route that submits."""


def submit_job(request: Request, principal: Principal, wanted: BaseModel, key: str | None) -> Response:
    """Queue what a body asks for, once for each Idempotency-Key of a caller.

    Args:
        request: the HTTP request, whose path is the collection of such jobs.
        principal: who asks.
        wanted: the body, a request of one of the kinds of jobs.
        key: value of the Idempotency-Key header.

    Returns:
        200 with the record of a job that is done already, else 202; `Location` leads to the job.
    """
    queue: JobQueue = request.app.state.queue

    def act() -> Done:
        record = queue.submit(wanted)
        status = 200 if record.state.is_final else 202
        return Done(record.model_dump_json(), f"/v1/jobs/{record.id}", status)

    return answer_once(request, principal, key, fingerprint_of(wanted.model_dump_json()), act)


def succeeded(record: JobRecord, result: str) -> JobRecord:
    """The record itself, of a job that has succeeded.

    Args:
        record: of the job.
        result: what it would have left, such as "report".

    Raises:
        Problem: `conflict`, if it has not; with `Retry-After` where it still may.
    """
    if record.state is not JobState.SUCCEEDED:
        raise Problem(
            "conflict",
            f"The {record.kind} is {record.state}{f': {record.message}' if record.message else ''}; "
            f"it has no {result}.",
            field=record.kind,
            remedy=None if record.state.is_final else "Follow its job, and ask again when it has succeeded.",
            headers={} if record.state.is_final else {"Retry-After": "5"},
        )
    return record


def succeeded_audit(queue: JobQueue, audit: str, field: str) -> JobRecord:
    """An audit that a field of a request names. Raises as `succeeded`, and `NotFound`."""
    try:
        record = queue.get(audit, "audit")
    except NotFound as error:
        raise NotFound(f"There is no audit {audit[:80]!r}.", field=field) from error
    return succeeded(record, "report")
