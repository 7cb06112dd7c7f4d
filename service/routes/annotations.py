"""Annotations: start one on a draft, invite people, follow how it goes, ask for more, close it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response

from jobs.annotation import AnnotationRecord
from jobs.annotation_invitations import token_of
from jobs.annotation_redraft import ANSWERS, THRESHOLD, draft_again
from jobs.annotations import Annotations, require_unpublished
from jobs.errors import Invalid
from service.annotating import (
    AnnotationAnswer,
    AnnotationChange,
    AnnotationRequest,
    InvitationAnswer,
    InvitationRequest,
    NewInvitation,
    annotation_answer,
    invitation_answer,
)
from service.auth import Principal, require
from service.drafts import drafted
from service.idempotency import Done, Idempotency, IdempotencyKey, answer_once, fingerprint_of
from service.problems import problem_responses
from service.routes.jobs import Cursor
from service.schemas import Page

router = APIRouter(prefix="/v1/annotations", tags=["annotations"])

AnnotationId = Annotated[str, Path(description="Id of the annotation, 12 hexadecimal digits.")]
Owner = Annotated[Principal, Depends(require("annotate"))]
Limit = Annotated[int, Query(ge=1, le=200, description="Most annotations per page.")]
REFUSED = ("unauthorised", "forbidden", "unavailable")
EXAMPLE = {"draft": "3f2a...", "title": "birds", "answers_per_panel": 5, "threshold": 3}


@router.post(
    "",
    operation_id="create_annotation",
    status_code=201,
    response_model=AnnotationAnswer,
    responses={
        201: {"headers": {"Location": {"description": "The annotation.", "schema": {"type": "string"}}}},
        **problem_responses(*REFUSED, "malformed", "not-found", "conflict", "invalid", "key-reused"),
    },
)
def create(
    request: Request,
    principal: Owner,
    wanted: Annotated[AnnotationRequest, Body(examples=[EXAMPLE])],
    key: IdempotencyKey = None,
) -> Response:
    """Start an annotation: its panels are the candidates of the draft as it is now.

    Or draft a published bank again: its panels are the bank's rows, its answers are there from the start, and what is
    published is the bank's next version.
    """
    # With a key the id is made of it, so a request that was cut short and is sent again makes no second one.
    identifier = fingerprint_of("annotation", principal.id, key)[:12] if key is not None else None

    def act() -> Done:
        record = _start(request, wanted, identifier)
        return Done(_shown(request, record.id).model_dump_json(), f"/v1/annotations/{record.id}")

    return answer_once(request, principal, key, fingerprint_of(wanted.model_dump_json()), act)


@router.get("", operation_id="list_annotations", responses=problem_responses(*REFUSED, "invalid"))
def list_all(request: Request, principal: Owner, cursor: Cursor = None, limit: Limit = 50) -> Page[AnnotationAnswer]:
    """All annotations, the newest first."""
    annotations: Annotations = request.app.state.annotations
    ids = annotations.ids()
    if cursor is not None and cursor not in ids:
        raise Invalid(f"{cursor[:50]!r} is no cursor.", field="cursor", remedy="Use `next` of a page.")
    start = ids.index(cursor) if cursor is not None else 0
    page = ids[start : start + limit]
    following = ids[start + limit] if start + limit < len(ids) else None
    return Page[AnnotationAnswer](items=[_shown(request, one) for one in page], next=following)


@router.get("/{annotation}", operation_id="get_annotation", responses=problem_responses(*REFUSED, "not-found"))
def get(request: Request, principal: Owner, annotation: AnnotationId) -> AnnotationAnswer:
    """One annotation as of now."""
    return _shown(request, annotation)


@router.patch(
    "/{annotation}",
    operation_id="change_annotation",
    responses=problem_responses(*REFUSED, "malformed", "not-found", "conflict", "invalid"),
)
def change(
    request: Request,
    principal: Owner,
    annotation: AnnotationId,
    wanted: Annotated[AnnotationChange, Body(examples=[{"threshold": 4}, {"state": "closed"}])],
) -> AnnotationAnswer:
    """Change title, threshold or answers per panel, close it to annotators, or open it again."""
    annotations: Annotations = request.app.state.annotations
    if wanted.state == "published":
        raise Invalid("An annotation is published by POST .../publish.", field="state")
    fields = wanted.model_dump(exclude_none=True)

    def update(record: AnnotationRecord) -> dict[str, object]:
        require_unpublished(record)
        return fields

    annotations.change(annotation, update)
    return _shown(request, annotation)


@router.post(
    "/{annotation}/invitations",
    operation_id="create_invitation",
    status_code=201,
    response_model=NewInvitation,
    responses={
        201: {"headers": {"Location": {"description": "The invitation.", "schema": {"type": "string"}}}},
        **problem_responses(*REFUSED, "malformed", "not-found", "conflict", "invalid", "key-reused"),
    },
)
def invite(
    request: Request,
    principal: Owner,
    annotation: AnnotationId,
    wanted: Annotated[InvitationRequest, Body(examples=[{"annotator": "Ada", "hours": 168}])],
    key: IdempotencyKey = None,
) -> Response:
    """Invite somebody. The answer holds the link's token, which is shown this once and kept nowhere."""
    annotations: Annotations = request.app.state.annotations
    idempotency: Idempotency = request.app.state.idempotency
    seed = idempotency.seed(key, principal.id, f"POST {request.url.path}")

    def act() -> Done:
        invitation, _ = annotations.invite(annotation, wanted.annotator, wanted.hours, seed)
        with annotations.reading(annotation, fresh=False) as index:
            answer = invitation_answer(invitation, index).model_dump_json()
        return Done(answer, f"/v1/annotations/{annotation}/invitations/{invitation.id}")

    # What is remembered has no token: it is made of the seed again.
    remembered = answer_once(request, principal, key, fingerprint_of(wanted.model_dump_json()), act)
    shown = InvitationAnswer.model_validate_json(bytes(remembered.body))
    token = token_of(annotation, seed)
    answer = NewInvitation(**shown.model_dump(), token=token, href=f"/label#{token}")
    headers = {**remembered.headers, "cache-control": "no-store"}
    del headers["content-length"]
    return Response(answer.model_dump_json(), 201, headers)


@router.get(
    "/{annotation}/invitations",
    operation_id="list_invitations",
    responses=problem_responses(*REFUSED, "not-found", "invalid"),
)
def list_invitations(request: Request, principal: Owner, annotation: AnnotationId) -> Page[InvitationAnswer]:
    """All invitations by time, those revoked and expired too, on one page; without their tokens."""
    annotations: Annotations = request.app.state.annotations
    with annotations.reading(annotation) as index:
        invitations = sorted(annotations.invitations.list(annotation), key=lambda one: (one.created, one.id))
        return Page[InvitationAnswer](items=[invitation_answer(one, index) for one in invitations])


@router.delete(
    "/{annotation}/invitations/{invitation}",
    operation_id="revoke_invitation",
    status_code=204,
    responses=problem_responses(*REFUSED, "not-found"),
)
def revoke(
    request: Request,
    principal: Owner,
    annotation: AnnotationId,
    invitation: Annotated[str, Path(description="Id of the invitation.")],
) -> None:
    """Make a link worthless, everywhere within seconds. What was answered by it stays."""
    annotations: Annotations = request.app.state.annotations
    annotations.invitations.revoke(annotation, invitation)


def _start(request: Request, wanted: AnnotationRequest, identifier: str | None) -> AnnotationRecord:
    annotations: Annotations = request.app.state.annotations
    if wanted.draft is not None:
        drafted(request.app.state.queue, wanted.draft)
    if wanted.bank is not None:
        return draft_again(
            annotations,
            request.app.state.settings,
            wanted.bank,
            draft=wanted.draft,
            title=wanted.title or "",
            answers_per_panel=wanted.answers_per_panel,
            threshold=wanted.threshold,
            classes=wanted.classes,
            identifier=identifier,
        )
    answers = wanted.answers_per_panel or ANSWERS
    return annotations.create(
        str(wanted.draft),
        title=wanted.title or "",
        answers_per_panel=answers,
        threshold=wanted.threshold or min(THRESHOLD, answers),
        classes=wanted.classes,
        identifier=identifier,
    )


def _shown(request: Request, annotation: str) -> AnnotationAnswer:
    annotations: Annotations = request.app.state.annotations
    with annotations.reading(annotation) as index:
        return annotation_answer(index)
