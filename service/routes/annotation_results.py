"""What the answers of an annotation come to, panel by panel, and asking for more of them."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from jobs.annotation import MOST_ANSWERS
from jobs.annotation_index import AnnotationIndex
from jobs.annotation_results import Filter, PanelResult, Results, panel_results, results
from jobs.annotations import Annotations
from service.annotating import AnnotationAnswer, annotation_answer
from service.idempotency import Done, IdempotencyKey, answer_once, fingerprint_of
from service.problems import Problem, problem_responses
from service.routes.annotations import REFUSED, AnnotationId, Owner
from service.routes.banks import position
from service.routes.jobs import Cursor
from service.schemas import Page

router = APIRouter(prefix="/v1/annotations", tags=["annotations"])

Threshold = Annotated[
    int | None, Query(ge=1, description="In place of the annotation's own, to see what it would change.")
]


class MoreRequest(BaseModel):
    """Panels on which more people are to be asked."""

    model_config = ConfigDict(extra="forbid")

    panels: list[str] = Field(min_length=1, max_length=100_000, description="Ids of the panels.")
    answers: int = Field(1, ge=1, le=MOST_ANSWERS, description="Wanted beyond those wanted now.")


@router.get(
    "/{annotation}/results",
    operation_id="get_annotation_results",
    responses=problem_responses(*REFUSED, "not-found", "invalid"),
)
def get_results(request: Request, principal: Owner, annotation: AnnotationId, threshold: Threshold = None) -> Results:
    """Labels, agreement, split panels, and how each annotator answers, as of now."""
    annotations: Annotations = request.app.state.annotations
    with annotations.reading(annotation) as index:
        _require_threshold(index, threshold)
        return results(index, threshold)


@router.get(
    "/{annotation}/panels",
    operation_id="list_annotation_panels",
    responses=problem_responses(*REFUSED, "not-found", "invalid"),
)
def list_panels(
    request: Request,
    principal: Owner,
    annotation: AnnotationId,
    which: Annotated[
        Filter, Query(alias="filter", description="Those that lack answers, are split, or would change their label.")
    ] = "all",
    threshold: Threshold = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most panels per page.")] = 50,
) -> Page[PanelResult]:
    """The panels by class and rank, with what was said of each."""
    annotations: Annotations = request.app.state.annotations
    with annotations.reading(annotation) as index:
        _require_threshold(index, threshold)
        found = list(islice(panel_results(index, which, threshold, position(cursor)), limit + 1))
    following = str(found[limit][0]) if len(found) > limit else None
    return Page[PanelResult](items=[panel for _, panel in found[:limit]], next=following)


@router.post(
    "/{annotation}/more",
    operation_id="ask_for_more_answers",
    response_model=AnnotationAnswer,
    responses=problem_responses(*REFUSED, "malformed", "not-found", "conflict", "invalid", "key-reused"),
)
def more(
    request: Request,
    principal: Owner,
    annotation: AnnotationId,
    wanted: Annotated[MoreRequest, Body(examples=[{"panels": ["3-57"], "answers": 2}])],
    key: IdempotencyKey = None,
) -> Response:
    """Ask for more answers on some panels, such as those on which people are split."""
    annotations: Annotations = request.app.state.annotations
    fingerprint = fingerprint_of(wanted.model_dump_json())
    # The annotation itself knows what was carried out, so a request that was cut short adds nothing when sent again.
    identifier = fingerprint_of("more", principal.id, key, fingerprint)[:12] if key is not None else None

    def act() -> Done:
        annotations.want_more(annotation, wanted.panels, wanted.answers, identifier)
        with annotations.reading(annotation) as index:
            answer = annotation_answer(index).model_dump_json()
        return Done(answer, f"/v1/annotations/{annotation}", 200)

    return answer_once(request, principal, key, fingerprint, act)


def _require_threshold(index: AnnotationIndex, threshold: int | None) -> None:
    if threshold is not None and threshold > index.record.answers_per_panel:
        raise Problem(
            "invalid",
            f"threshold {threshold} is more than the {index.record.answers_per_panel} answers per panel.",
            field="threshold",
        )
