"""Two classifiers on the same pictures: submit a comparison of their audits, list them, and read what differs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Request, Response
from fastapi.responses import StreamingResponse

from jobs.comparison import Comparison
from jobs.comparison_request import ComparisonRequest
from jobs.queue import JobQueue
from jobs.records import JobRecord
from service.downloads import HTML, JSON, MARKDOWN
from service.idempotency import IdempotencyKey
from service.job_files import send_report
from service.job_submission import SUBMITTED, submit_job, succeeded_audit
from service.problems import problem_responses
from service.routes.audits import REFUSED, Auditor
from service.routes.jobs import Cursor, Limit, page_of_jobs
from service.schemas import Page

router = APIRouter(prefix="/v1/comparisons", tags=["comparisons"])

ComparisonId = Annotated[str, Path(description="Id of the comparison, which is its job's.")]
REPORTS = {JSON: "comparison.json", HTML: "comparison.html", MARKDOWN: "comparison.md"}
EXAMPLE = {"audit": "1f3870be274f6c49b3e31a0c6728957f", "baseline": "d0763edaa9d9bd2a9516280e9044d885"}


@router.post(
    "",
    operation_id="submit_comparison",
    status_code=202,
    response_model=JobRecord,
    responses=SUBMITTED | problem_responses("conflict"),
)
def submit(
    request: Request,
    principal: Auditor,
    wanted: Annotated[ComparisonRequest, Body(examples=[EXAMPLE])],
    key: IdempotencyKey = None,
) -> Response:
    """Queue a comparison of two audits of the same pictures that have succeeded.

    The job's id is the digest of all its inputs: what was compared once is not compared again. Audits that differ in
    more than their classifiers are refused here, which says in what.
    """
    queue: JobQueue = request.app.state.queue
    named = [(wanted.audit, "audit"), (wanted.baseline, "baseline"), *((other, "with") for other in wanted.others)]
    for audit, field in named:
        succeeded_audit(queue, audit, field)
    return submit_job(request, principal, wanted, key)


@router.get("", operation_id="list_comparisons", responses=problem_responses(*REFUSED, "invalid"))
def list_all(request: Request, principal: Auditor, cursor: Cursor = None, limit: Limit = 50) -> Page[JobRecord]:
    """All comparisons, the newest first."""
    return page_of_jobs(request, cursor, limit, "comparison")


@router.get("/{comparison}", operation_id="get_comparison", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Auditor, comparison: ComparisonId) -> JobRecord:
    """One comparison as of now."""
    queue: JobQueue = request.app.state.queue
    return queue.get(comparison, "comparison")


@router.get(
    "/{comparison}/report",
    operation_id="get_comparison_report",
    response_class=StreamingResponse,
    responses={
        200: {
            "model": Comparison,
            "description": "What differs, as `Accept` asks: JSON, one self-contained page, or Markdown.",
            "content": {HTML: {"schema": {"type": "string"}}, MARKDOWN: {"schema": {"type": "string"}}},
        },
        **problem_responses(*REFUSED, "not-found", "not-acceptable", "conflict"),
    },
)
def report(request: Request, principal: Auditor, comparison: ComparisonId) -> Response:
    """What differs, with 95 % intervals, the baseline's taken off; readable without Redis."""
    return send_report(request, comparison, "comparison", REPORTS)
