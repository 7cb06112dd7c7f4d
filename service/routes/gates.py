"""Gates: hold an audit against rules."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from jobs.comparability import read_report
from jobs.comparison import Comparison, compare
from jobs.comparison_files import report_of
from jobs.comparison_job import RESULT
from jobs.comparison_request import ComparisonRequest
from jobs.errors import Invalid, NotFound
from jobs.gate import Gate, judge
from jobs.gate_files import junit, summary
from jobs.gate_rules import read_rules
from jobs.queue import JobQueue
from jobs.records import JobState
from jobs.report import Report
from jobs.version import code_version
from service.downloads import JSON, MARKDOWN, XML
from service.job_submission import succeeded, succeeded_audit
from service.media import best_media_type
from service.problems import Problem, problem_responses
from service.routes.audits import REFUSED, AuditId, Auditor

router = APIRouter(prefix="/v1/audits", tags=["audits"])


class GateRequest(BaseModel):
    """Rules, and what changes are taken from."""

    model_config = ConfigDict(extra="forbid")

    rules: str = Field(
        description="The text of a rule file, TOML; see docs/gate.md.",
        examples=['[[rule]]\ncheck = "swap_gap <= 5 points"\n'],
    )
    baseline: str | None = Field(None, description='Id of the audit that rules `against = "baseline"` compare with.')
    baseline_report: dict[str, Any] | None = Field(
        None,
        description="In its place a saved report.json. Where its audit is on this service too, pictures are paired.",
    )


@router.post(
    "/{audit}/gate",
    operation_id="gate_audit",
    response_model=Gate,
    responses={
        200: {
            "description": "The verdict, whatever it is, as `Accept` asks: JSON, JUnit XML, or Markdown.",
            "content": {XML: {"schema": {"type": "string"}}, MARKDOWN: {"schema": {"type": "string"}}},
        },
        **problem_responses(
            *REFUSED, "malformed", "not-found", "not-acceptable", "conflict", "not-compared", "invalid"
        ),
    },
)
def gate(request: Request, principal: Auditor, audit: AuditId, body: GateRequest) -> Response:
    """Hold a finished audit against rules: pass, fail, or undecided where its pictures are too few to tell.

    Nothing is created: the same audit, rules and baseline have the same verdict. Rules against a baseline that is on
    this service need its comparison with the audit, which `POST /v1/comparisons` makes; until then this says so.
    """
    queue: JobQueue = request.app.state.queue
    media_type = best_media_type(request.headers.get("accept"), (JSON, XML, MARKDOWN))
    record = succeeded(queue.get(audit, "audit"), "report")
    rules = read_rules(body.rules)
    report = report_of(queue.store, record.id, "the audit", "audit")
    change = _change(queue, report, body) if any(rule.against is not None for rule in rules) else None
    found = judge(report, rules, change)
    headers = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    if media_type == XML:
        return Response(junit(found), headers=headers, media_type=XML)
    if media_type == MARKDOWN:
        return Response(summary(found), headers=headers, media_type=MARKDOWN)
    return Response(found.to_json(), headers=headers, media_type=JSON)


def _change(queue: JobQueue, report: Report, body: GateRequest) -> Comparison | None:
    """What differs from the baseline, paired where the service has its rows; None where none is named."""
    if body.baseline is not None and body.baseline_report is not None:
        raise Invalid("Both a baseline and its report are given.", field="baseline", remedy="Give one of them.")
    if body.baseline is not None:
        return _compared(queue, report.audit, body.baseline)
    if body.baseline_report is None:
        return None
    saved = read_report(json.dumps(body.baseline_report).encode(), "the baseline", "baseline_report")
    try:
        there = queue.get(saved.audit, "audit").state is JobState.SUCCEEDED
    except NotFound:
        there = False
    if not there:
        return compare(report, saved, None, code_version())
    if saved != report_of(queue.store, saved.audit, "the baseline", "baseline_report"):
        raise Invalid(
            f"The saved report is not what audit {saved.audit[:12]} left on this service: it was changed.",
            field="baseline_report",
            remedy="Send it as it was downloaded, or name the audit as `baseline`.",
        )
    return _compared(queue, report.audit, saved.audit)


def _compared(queue: JobQueue, audit: str, baseline: str) -> Comparison:
    """The comparison with a baseline on this service. Raises `not-compared` where it is not made yet."""
    succeeded_audit(queue, baseline, "baseline")
    record = queue.known(ComparisonRequest(audit=audit, baseline=baseline))
    if record is None or record.state is not JobState.SUCCEEDED:
        state = "" if record is None else f": job {record.id} is {record.state}"
        raise Problem(
            "not-compared",
            f"The audit is not compared with the baseline yet{state}.",
            field="baseline",
            remedy=f'POST {{"audit": "{audit}", "baseline": "{baseline}"}} to /v1/comparisons, follow its job to its '
            "end, and ask again.",
        )
    return Comparison.model_validate_json(queue.store.read_bytes(queue.file(record.id, RESULT)))
