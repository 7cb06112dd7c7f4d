"""Two classifiers on the same pictures: what differs between their audits."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from jobs.comparison import Comparison
from jobs.comparison_page import comparison_html, comparison_markdown
from jobs.queue import JobQueue
from service.comparing import compared
from service.downloads import HTML, HTML_POLICY, JSON, MARKDOWN
from service.media import best_media_type
from service.problems import problem_responses
from service.routes.audits import REFUSED, AuditId, Auditor

router = APIRouter(prefix="/v1/audits", tags=["audits"])

BaselineId = Annotated[str, Path(description="Id of the audit to compare it with.")]
Others = Annotated[
    list[str],
    Query(
        alias="with",
        max_length=200,
        description="Ids of further audits; with at least three in all the answer has their effective robustness.",
    ),
]


@router.get(
    "/{audit}/comparison/{baseline}",
    operation_id="compare_audits",
    response_model=Comparison,
    responses={
        200: {
            "description": "What differs, as `Accept` asks: JSON, one self-contained page, or Markdown.",
            "content": {HTML: {"schema": {"type": "string"}}, MARKDOWN: {"schema": {"type": "string"}}},
        },
        **problem_responses(*REFUSED, "not-found", "not-acceptable", "conflict", "invalid", "too-busy"),
    },
)
def compare(
    request: Request,
    principal: Auditor,
    audit: AuditId,
    baseline: BaselineId,
    others: Others = [],  # noqa: B006
) -> Response:
    """Compare two audits of the same pictures: paired differences with 95 % intervals, the baseline's taken off.

    Audits that differ in more than their classifiers are refused, which says in what.
    """
    queue: JobQueue = request.app.state.queue
    media_type = best_media_type(request.headers.get("accept"), (JSON, HTML, MARKDOWN))
    found = compared(queue, audit, baseline, others)
    headers = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    if media_type == HTML:
        headers["Content-Security-Policy"] = HTML_POLICY
        return Response(comparison_html(found), headers=headers, media_type=HTML)
    if media_type == MARKDOWN:
        return Response(comparison_markdown(found), headers=headers, media_type=MARKDOWN)
    return Response(found.to_json(), headers=headers, media_type=JSON)
