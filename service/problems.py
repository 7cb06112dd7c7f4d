"""Errors as RFC 9457 problem details: one exception, one table of kinds, one place that maps the other rooms' errors.

`type` is stable and made for programs, `detail` for people; `field` names the part of the request at fault and
`remedy` says what to do. Nothing here tells a caller about the inside of the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from pydantic_core import PydanticSerializationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.errors import Conflict, Invalid, JobsError, LimitExceeded, NotFound, Unavailable, in_words
from models.errors import ModelsError, UnknownClassError

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:cuecheck:problem:"
V2_PATHS = "/v2/"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its HTTP status and its title, which never vary from one occurrence to the next."""

    status: int
    title: str


KINDS: dict[str, Kind] = {
    "malformed": Kind(400, "The request could not be parsed"),
    "unauthorised": Kind(401, "A valid API key is needed"),
    "forbidden": Kind(403, "The API key does not allow this"),
    "not-found": Kind(404, "There is nothing under this name"),
    "unknown-bank": Kind(404, "There is no such feature bank"),
    "method-not-allowed": Kind(405, "This path does not take that method"),
    "not-acceptable": Kind(406, "None of the accepted media types can be given"),
    "timeout": Kind(408, "The request arrived too slowly"),
    "conflict": Kind(409, "Not possible in the present state"),
    "not-compared": Kind(409, "The comparison with the baseline is not made yet"),
    "too-large": Kind(413, "The body is over the limit"),
    "unsupported-media": Kind(415, "The body has a media type that is not taken here"),
    "range": Kind(416, "The range lies outside the file"),
    "invalid": Kind(422, "A part of the request cannot be used"),
    "key-reused": Kind(422, "The Idempotency-Key belongs to another request"),
    "unknown-class": Kind(422, "The bank has no such class"),
    "unknown-feature": Kind(422, "The class has no such labelled feature"),
    "bad-picture": Kind(422, "The picture cannot be used"),
    "no-picture-usable": Kind(422, "None of the pictures can be used"),
    "too-busy": Kind(429, "The service has as much work as it takes"),
    "limit-exceeded": Kind(429, "A configured limit was reached"),
    "internal": Kind(500, "The service failed"),
    "unavailable": Kind(503, "A part of the service does not answer"),
    "worker-lost": Kind(503, "The worker that had the picture is gone"),
    "deadline": Kind(504, "The answer was not ready in time"),
}


class FieldError(BaseModel):
    """One of several faults of a request."""

    field: str
    detail: str


class ProblemDetails(BaseModel):
    """The body of every error (RFC 9457), also used for a picture that failed alone."""

    type: str = Field(description="Stable name of the kind of problem.", examples=[f"{TYPE_PREFIX}unknown-class"])
    title: str = Field(description="The kind in words; the same for every occurrence.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What was wrong this time, with which value.")
    instance: str | None = Field(None, description="Id of the request, as in the X-Request-Id header and the logs.")
    field: str | None = Field(None, description="The part of the request at fault.")
    remedy: str | None = Field(None, description="What the caller can do about it.")
    errors: list[FieldError] | None = Field(None, description="All faults, where there are several.")
    error: str | None = Field(None, description="Detail and remedy, below /v2 only: its clients show nothing else.")


class Problem(Exception):
    """Raised anywhere in a request to end it with a problem document.

    Args:
        kind: a key of `KINDS`.
        detail: what was wrong this time, with which value.
        field: the part of the request at fault.
        remedy: what the caller can do about it.
        headers: further response headers, e.g. `Retry-After`.
        errors: all faults, where there are several.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        field: str | None = None,
        remedy: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.field = field
        self.remedy = remedy
        self.headers = dict(headers or {})
        self.errors = list(errors)

    def __reduce__(self) -> tuple[partial[Problem], tuple[()]]:
        """Pictures fail in the worker process, so problems must survive the way back; plain exceptions with keyword
        arguments do not."""
        again = partial(
            Problem,
            self.kind,
            self.detail,
            field=self.field,
            remedy=self.remedy,
            headers=self.headers,
            errors=self.errors,
        )
        return again, ()

    @property
    def status(self) -> int:
        """HTTP status of this kind."""
        return KINDS[self.kind].status

    def details(self, instance: str | None = None) -> ProblemDetails:
        """The document, for the occurrence `instance`."""
        return ProblemDetails(
            type=TYPE_PREFIX + self.kind,
            title=KINDS[self.kind].title,
            status=self.status,
            detail=self.detail,
            instance=instance,
            field=self.field,
            remedy=self.remedy,
            errors=self.errors or None,
        )

    def response(self, scope: Mapping[str, Any]) -> Response:
        """The document as the answer to a request, with the member `error` where clients of V2 look for it."""
        instance = request_id(scope)
        details = self.details(instance)
        if f"{scope['path']}/".startswith(V2_PATHS):
            details.error = f"{self.detail.rstrip('.')}. {self.remedy}" if self.remedy else self.detail
        headers = self.headers if instance is None else {**self.headers, "X-Request-Id": instance}
        return Response(details.model_dump_json(exclude_none=True), self.status, headers, MEDIA_TYPE)


def request_id(scope: Mapping[str, Any]) -> str | None:
    """The id that `service.metrics` gave to this request."""
    found: str | None = scope.get("state", {}).get("request_id")
    return found


def from_jobs_error(error: JobsError) -> Problem:
    """The problem that an error of the `jobs` room is to a caller."""
    kinds = {NotFound: "not-found", Invalid: "invalid", Conflict: "conflict", LimitExceeded: "limit-exceeded"}
    headers: dict[str, str] = {}
    kind = next((kind for family, kind in kinds.items() if isinstance(error, family)), "internal")
    if isinstance(error, Unavailable):
        kind, headers = "unavailable", {"Retry-After": str(max(1, round(error.retry_after)))}
    elif isinstance(error, LimitExceeded):
        headers = {"Retry-After": "10"}
    return Problem(kind, error.message, field=error.field, remedy=error.remedy, headers=headers)


def from_models_error(error: ModelsError) -> Problem:
    """The problem that an error of the `models` room is to a caller."""
    kind = "unknown-class" if isinstance(error, UnknownClassError) else "invalid"
    return Problem(kind, str(error), field=error.field, remedy=error.remedy)


def half_a_character() -> Problem:
    """The problem that half of a surrogate pair is, which JSON can write and no file, key or answer can hold."""
    return Problem(
        "invalid",
        "A text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character.",
        field="body",
        remedy="Send whole characters.",
    )


def from_validation(error: RequestValidationError) -> Problem:
    """The problem that a request outside its schema is: 400 where it could not even be parsed."""
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        reason = faults[0].get("ctx", {}).get("error", "syntax error")
        return Problem("malformed", f"The body is not JSON: {reason}.", field="body", remedy="Send valid JSON.")
    errors = [FieldError(field=_field_name(fault["loc"]), detail=in_words(fault["msg"])) for fault in faults]
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid", f"{errors[0].field}: {errors[0].detail}{more}", field=errors[0].field, errors=errors)


def _field_name(location: Sequence[int | str]) -> str:
    """`("body", "class_map", "cat")` -> `class_map.cat`; only the part of the request where there is nothing else."""
    inner = [str(part) for part in location[1:]]
    return ".".join(inner) or str(location[0])


def from_http_exception(error: HTTPException) -> Problem:
    """The problem that an error of FastAPI or Starlette itself is (unknown path, wrong method, broken form)."""
    by_status = {400: "malformed", 401: "unauthorised", 403: "forbidden", 404: "not-found", 405: "method-not-allowed"}
    by_status |= {406: "not-acceptable", 409: "conflict", 413: "too-large", 415: "unsupported-media", 422: "invalid"}
    by_status |= {429: "too-busy", 503: "unavailable", 504: "deadline"}
    kind = by_status.get(error.status_code, "internal" if error.status_code >= 500 else "malformed")
    plain = HTTPStatus(error.status_code).phrase
    detail = KINDS[kind].title if error.detail in (plain, None) else str(error.detail)
    return Problem(kind, f"{detail.rstrip('.')}.", headers=error.headers)


def install(app: FastAPI) -> None:
    """Let every error of `app` leave it as a problem document."""

    def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response(request.scope)

    def translated(request: Request, error: Exception) -> Response:
        match error:
            case JobsError():
                found = from_jobs_error(error)
            case ModelsError():
                found = from_models_error(error)
            case UnicodeEncodeError() | PydanticSerializationError() if "surrogates not allowed" in str(error):
                found = half_a_character()
            case RequestValidationError():
                found = from_validation(error)
            case HTTPException():
                found = from_http_exception(error)
            case _:
                raise error
        return found.response(request.scope)

    app.add_exception_handler(Problem, problem)
    unwritable = (UnicodeEncodeError, PydanticSerializationError)
    for family in (JobsError, ModelsError, RequestValidationError, HTTPException, *unwritable):
        app.add_exception_handler(family, translated)


class LastResort:
    """ASGI middleware that answers where the service itself failed, once the reason is in the log.

    A handler of Starlette 1.10 for `Exception` raises it again after its answer, and uvicorn 0.54 then breaks the
    connection: whoever has sent the next request on it already is told "connection reset".
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise  # an answer that cannot be finished has to end with its connection
            log.error("request failed", request_id=request_id(scope), exc_info=error)
            problem = Problem("internal", "The service failed on this request; its log has the reason.")
            await problem.response(scope)(scope, receive, send)


def problem_responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can end with these kinds: schema and one example for each."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, title = KINDS[kind].status, KINDS[kind].title
        example = ProblemDetails(
            type=TYPE_PREFIX + kind, title=title, status=status, detail=f"{title}: ...", instance="8f14e45fceea167a"
        )
        entry = by_status.setdefault(
            status,
            {
                "description": title,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "examples": {}}},
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][kind] = {"value": example.model_dump(exclude_none=True)}
    return by_status
