"""Whether the service lives, whether it can answer, and what it counts."""

from __future__ import annotations

from typing import Literal

import redis
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_LATEST
from pydantic import BaseModel, Field

from service.headline_metrics import HeadlineCollector
from service.job_metrics import JobCollector
from service.media import best_media_type
from service.metrics import exposition
from service.problems import problem_responses
from service.status import WorkerCollector, WorkerStatus, healthy_workers

router = APIRouter(tags=["health"])

TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"
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
            "description": "Prometheus' text format, or OpenMetrics 1.0 as `Accept` asks.",
            "content": {TEXT: {"schema": {"type": "string"}}, OPENMETRICS: {"schema": {"type": "string"}}},
        },
        **problem_responses("unauthorised", "not-acceptable"),
    },
)
def show_metrics(request: Request) -> Response:
    """Counts and times over all processes of the service, the state of the jobs as it stands in Redis, and the latest
    headline of every classifier.
    """
    openmetrics = best_media_type(request.headers.get("accept"), (TEXT, OPENMETRICS)) == OPENMETRICS
    state = request.app.state
    workers = WorkerCollector(state.folder, LONGEST_BATCH * state.settings.deadline_seconds)
    collectors = (workers, JobCollector(state.queue), HeadlineCollector(state.announcer.headlines))
    body = exposition(*collectors, openmetrics=openmetrics)
    media_type = OPENMETRICS_LATEST if openmetrics else CONTENT_TYPE_LATEST
    return Response(body, headers={"Vary": "Accept"}, media_type=media_type)
