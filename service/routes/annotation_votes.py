"""The answers of an annotation as a file, out and in, and what becomes of them: the second round, and the bank."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from jobs.annotation import MOST_ANSWERS
from jobs.annotation_publication import PublishRequest, publish
from jobs.annotation_rounds import open_validation
from jobs.annotation_votes import CSV, JSON, Imported, export_csv, export_json, import_votes
from jobs.annotations import Annotations
from service.annotating import AnnotationAnswer, annotation_answer
from service.idempotency import Done, IdempotencyKey, answer_once, fingerprint_of
from service.media import best_media_type
from service.problems import Problem, problem_responses
from service.routes.annotations import REFUSED, AnnotationId, Owner

router = APIRouter(prefix="/v1/annotations", tags=["annotations"])

VOTES: dict[str, Any] = {
    JSON: {"schema": {"type": "object", "description": "`VotesFile` of docs/annotation.md."}},
    CSV: {"schema": {"type": "string"}},
}


class PublishedBank(BaseModel):
    """The bank that was published."""

    name: str
    version: int
    digest: str
    features: int = Field(description="Labelled rows.")
    core: int
    spurious: int


class SecondRoundRequest(BaseModel):
    """The second round to be opened."""

    model_config = ConfigDict(extra="forbid")

    annotators: int | None = Field(
        None, ge=1, le=MOST_ANSWERS, description="People asked about each row; as in the first round where left out."
    )


@router.get(
    "/{annotation}/answers",
    operation_id="export_answers",
    response_class=Response,
    responses={
        200: {"description": "All answers of the first round.", "content": VOTES},
        **problem_responses(*REFUSED, "not-found", "not-acceptable"),
    },
)
def export_answers(
    request: Request,
    principal: Owner,
    annotation: AnnotationId,
    accept: Annotated[str | None, Header(description="`application/json` (the default) or `text/csv`.")] = None,
) -> Response:
    """All answers: JSON with everything, or CSV in the columns of Salient ImageNet's release."""
    annotations: Annotations = request.app.state.annotations
    media_type = best_media_type(accept, [JSON, CSV])
    with annotations.reading(annotation) as index:
        content = export_csv(index) if media_type == CSV else export_json(index)
    name = f"{annotation}.{'csv' if media_type == CSV else 'json'}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    return Response(content, media_type=f"{media_type}; charset=utf-8" if media_type == CSV else JSON, headers=headers)


@router.post(
    "/{annotation}/answers",
    operation_id="import_answers",
    responses=problem_responses(
        *REFUSED, "malformed", "not-found", "conflict", "too-large", "unsupported-media", "invalid", "key-reused"
    ),
    response_model=Imported,
    openapi_extra={"requestBody": {"required": True, "content": VOTES}},
)
async def import_answers(
    request: Request, principal: Owner, annotation: AnnotationId, key: IdempotencyKey = None
) -> Response:
    """Take in answers from a file as `GET` gives it, or as Salient ImageNet released it.

    All of them, or where one is wrong none. The same file again changes nothing.
    """
    annotations: Annotations = request.app.state.annotations
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (CSV, JSON):
        raise Problem(
            "unsupported-media",
            f"Content-Type: {media_type[:100] or '(none)'} is not taken here.",
            field="Content-Type",
            remedy=f"Send {CSV} or {JSON}.",
        )
    content = await request.body()

    def act() -> Done:
        answer = import_votes(annotations, annotation, content, media_type).model_dump_json()
        return Done(answer, f"/v1/annotations/{annotation}", 200)

    fingerprint = fingerprint_of(media_type, hashlib.sha256(content).hexdigest())
    return await run_in_threadpool(answer_once, request, principal, key, fingerprint, act)


@router.post(
    "/{annotation}/validation",
    operation_id="open_validation",
    response_model=AnnotationAnswer,
    responses=problem_responses(
        *REFUSED, "malformed", "not-found", "conflict", "invalid", "key-reused", "limit-exceeded"
    ),
)
def validation(
    request: Request,
    principal: Owner,
    annotation: AnnotationId,
    wanted: Annotated[SecondRoundRequest | None, Body(examples=[{"annotators": 2}])] = None,
    key: IdempotencyKey = None,
) -> Response:
    """Open the second round: a job draws its pictures, then the same links ask whether they show the same thing."""
    annotations: Annotations = request.app.state.annotations
    asked = wanted or SecondRoundRequest(annotators=None)

    def act() -> Done:
        open_validation(annotations, request.app.state.queue, annotation, asked.annotators)
        with annotations.reading(annotation) as index:
            answer = annotation_answer(index).model_dump_json()
        return Done(answer, f"/v1/annotations/{annotation}", 200)

    return answer_once(request, principal, key, fingerprint_of(asked.model_dump_json()), act)


@router.post(
    "/{annotation}/publish",
    operation_id="publish_annotation",
    status_code=201,
    response_model=PublishedBank,
    responses={
        201: {"headers": {"Location": {"description": "The bank.", "schema": {"type": "string"}}}},
        **problem_responses(*REFUSED, "malformed", "not-found", "conflict", "invalid", "key-reused"),
    },
)
def publish_annotation(
    request: Request,
    principal: Owner,
    annotation: AnnotationId,
    wanted: Annotated[
        PublishRequest, Body(examples=[{"name": "birds", "title": "Birds of the feeder", "licence": "CC-BY-4.0"}])
    ],
    key: IdempotencyKey = None,
) -> Response:
    """Make a feature bank of the labels; from then on the annotation takes no answers. Of two at once one wins."""
    annotations: Annotations = request.app.state.annotations

    def act() -> Done:
        bank = publish(annotations, request.app.state.settings, annotation, wanted)
        features = bank.manifest.features
        core = sum(feature.label == "core" for feature in features)
        answer = PublishedBank(
            name=bank.name,
            version=bank.manifest.version or 1,
            digest=bank.digest,
            features=len(features),
            core=core,
            spurious=len(features) - core,
        )
        return Done(answer.model_dump_json(), f"/v1/banks/{bank.digest}")

    return answer_once(request, principal, key, fingerprint_of(wanted.model_dump_json()), act)
