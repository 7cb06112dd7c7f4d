"""What annotators do: see what they are invited to, get a panel, answer it, take that back. Needs an invitation."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from jobs.annotation import Answer, ValidationAnswer, draft_folder, folder
from jobs.annotation_assignment import owed
from jobs.annotation_validation import require_drawn, require_row
from jobs.annotations import Annotations, require_open
from jobs.errors import NotFound
from service.downloads import JPEG, kept, send
from service.invited import Invited
from service.labelling import (
    LabelAnswer,
    LabelPanel,
    LabelSession,
    LabelValidation,
    Progress,
    described,
    progress_of,
    session,
)
from service.problems import Problem, problem_responses

router = APIRouter(prefix="/v1/label", tags=["labelling"])

PanelId = Annotated[str, Path(description="Id of the panel.", examples=["3-57"])]
REFUSED = ("unauthorised", "unavailable")
GIVEN = problem_responses(*REFUSED, "malformed", "not-found", "conflict", "invalid")
PICTURES = {
    "panels": re.compile(r"[0-9]{1,9}-[0-9]{1,9}\.jpg"),
    "strips": re.compile(r"[0-9]{1,9}\.jpg"),
    "validation": re.compile(r"[0-9]{1,9}-[0-9]{1,9}-(highest|middle|lowest)\.jpg"),
}
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Square tiles side by side.",
        "content": {JPEG: {"schema": {"type": "string", "format": "binary"}}},
    },
    206: {"description": "The part that `Range` asks for.", "content": {JPEG: {}}},
    **problem_responses(*REFUSED, "not-found", "range"),
}


@router.get("", operation_id="get_label_session", responses=problem_responses(*REFUSED))
def show(request: Request, invitation: Invited) -> LabelSession:
    """What the invitation is to, what is asked, and how far its annotator is."""
    annotations: Annotations = request.app.state.annotations
    with annotations.reading(invitation.annotation) as index:
        return session(index, invitation)


@router.get(
    "/next",
    operation_id="get_next_panel",
    response_model=LabelPanel,
    response_model_exclude_none=True,
    responses={
        204: {"description": "Nothing is left to answer."},
        **problem_responses(*REFUSED, "not-found", "conflict"),
    },
)
def get_next(
    request: Request,
    invitation: Invited,
    after: Annotated[str | None, Query(max_length=30, description="A panel just seen: go on from there.")] = None,
    panel: Annotated[str | None, Query(max_length=30, description="This very panel, to look at it again.")] = None,
) -> LabelPanel | Response:
    """The next panel that this annotator owes an answer, or the one that is named."""
    annotations: Annotations = request.app.state.annotations
    with annotations.reading(invitation.annotation) as index:
        require_open(index.record, index.record.stage)
        second = index.record.stage == "validation"
        if panel is None and second:
            require_drawn(index)
        panel = panel or next(owed(index, invitation.annotator_id, after), None)
        if panel is None:
            return Response(status_code=204)
        if panel not in index.panels:
            raise NotFound(f"The annotation has no panel {panel!r}.", field="panel")
        row = require_row(index, panel) if second else None
        return described(index, invitation, index.panels[panel], row)


@router.put("/answers/{panel}", operation_id="answer_panel", responses=GIVEN)
def answer(
    request: Request,
    invitation: Invited,
    panel: PanelId,
    given: Annotated[
        LabelAnswer,
        Body(examples=[{"kind": "background", "confidence": 4, "reason": "It lies on the grass.", "seconds": 12.5}]),
    ],
) -> Progress:
    """Answer a panel. Sent again it counts once; sent with other words it replaces the former answer.

    The answer is in the store when this returns. Whoever got no answer to this request sends it again.
    """
    taken = Answer(
        annotator=invitation.annotator,
        kind=given.kind,
        confidence=given.confidence,
        reason=given.reason,
        seconds=given.seconds,
        at=datetime.now(UTC),
    )
    annotations: Annotations = request.app.state.annotations
    annotations.answer(invitation, panel, taken)
    return _progress(request, invitation)


@router.delete("/answers/{panel}", operation_id="take_back_answer", responses=GIVEN)
def take_back(request: Request, invitation: Invited, panel: PanelId) -> Progress:
    """Take an answer back; where there is none this is no error."""
    annotations: Annotations = request.app.state.annotations
    annotations.answer(invitation, panel, None)
    return _progress(request, invitation)


@router.put("/validations/{panel}", operation_id="validate_panel", responses=GIVEN)
def validate(
    request: Request,
    invitation: Invited,
    panel: PanelId,
    given: Annotated[LabelValidation, Body(examples=[{"same": True, "different": [11], "seconds": 8.0}])],
) -> Progress:
    """Answer a row of the second round: do its three groups of pictures show the same thing?"""
    annotations: Annotations = request.app.state.annotations
    with annotations.reading(invitation.annotation) as index:
        require_open(index.record, "validation")
        row = require_row(index, panel)
    most = 3 * row.pictures
    if any(not 0 <= number < most for number in given.different):
        raise Problem("invalid", f"Pictures are counted from 0 to {most - 1}.", field="different")
    taken = ValidationAnswer(
        annotator=invitation.annotator,
        same=given.same,
        different=tuple(sorted(set(given.different))),
        seconds=given.seconds,
        at=datetime.now(UTC),
    )
    annotations.validate(invitation, panel, taken)
    return _progress(request, invitation)


@router.delete("/validations/{panel}", operation_id="take_back_validation", responses=GIVEN)
def take_back_validation(request: Request, invitation: Invited, panel: PanelId) -> Progress:
    """Take an answer of the second round back; where there is none this is no error."""
    annotations: Annotations = request.app.state.annotations
    annotations.validate(invitation, panel, None)
    return _progress(request, invitation)


@router.get(
    "/pictures/{kind}/{name}",
    operation_id="get_label_picture",
    response_class=StreamingResponse,
    responses=PICTURE,
)
def picture(
    request: Request,
    invitation: Invited,
    kind: Annotated[str, Path(description="panels, strips or validation.")],
    name: Annotated[str, Path(description="Name of the file.", examples=["3-57.jpg"])],
) -> Response:
    """A panel, examples of a class, or a group of the second round."""
    annotations: Annotations = request.app.state.annotations
    with annotations.reading(invitation.annotation) as index:
        draft, panels, pictures = index.record.draft, index.panels, index.pictures
    file = f"{kind}/{name}"
    if kind in PICTURES and PICTURES[kind].fullmatch(name):
        if kind == "validation" and name.rpartition("-")[0] in panels:
            return _send(request, f"{folder(invitation.annotation)}/{file}")
        if file in pictures:
            return _send(request, f"{draft_folder(draft)}/{file}")
    raise NotFound(f"There is no picture {file[:80]!r}.", field="name")


def _send(request: Request, file: str) -> Response:
    annotations: Annotations = request.app.state.annotations
    return send(request, annotations.store, kept(file))


def _progress(request: Request, invitation: Invited) -> Progress:
    annotations: Annotations = request.app.state.annotations
    with annotations.reading(invitation.annotation, fresh=False) as index:
        return progress_of(index, invitation)
