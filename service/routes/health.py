"""Whether the service lives, whether it can answer, and what it counts."""

from __future__ import annotations

from typing import Literal

import redis
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from service.job_metrics import JobCollector
from service.metrics import exposition
from service.problems import problem_responses
from service.status import WorkerCollector, WorkerStatus, healthy_workers

router = APIRouter(tags=["health"])

LONGEST_BATCH = 2.0
"""A worker that is busy with one batch for this many deadlines counts as stuck."""


class Readiness(BaseModel):
    """What the service can do now."""

    ready: bool
    workers: list[WorkerStatus] = Field(description="Model workers that are alive, with what they really run on.")
    redis: Literal["ok", "unreachable"]


@router.get("/livez", operation_id="livez")
def livez() -> dict[Literal["status"], Literal["ok"]]:
    """The API process answers. Needs no key."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    operation_id="readyz",
    responses={503: {"model": Readiness, "description": "Not ready; the body says what is missing."}},
)
def readyz(request: Request, response: Response) -> Readiness:
    """A model worker has a bank loaded, and Redis answers. Says the device and the provider that are really in use.

    Needs no key.
    """
    state = request.app.state
    workers = healthy_workers(state.folder, LONGEST_BATCH * state.settings.deadline_seconds)
    try:
        state.redis.ping()
        answers = True
    except redis.RedisError:
        answers = False
    ready = answers and any(worker.banks for worker in workers)
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, workers=workers, redis="ok" if answers else "unreachable")


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problem_responses("unauthorised"),
    },
)
def show_metrics(request: Request) -> Response:
    """Counts and times over all processes of the service, and the state of the jobs as it stands in Redis."""
    state = request.app.state
    workers = WorkerCollector(state.folder, LONGEST_BATCH * state.settings.deadline_seconds)
    return Response(exposition(workers, JobCollector(state.queue)), media_type=CONTENT_TYPE_LATEST)
