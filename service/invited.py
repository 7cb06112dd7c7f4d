"""Who answers `/v1/label`: people with an invitation, whose token opens that and nothing else."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers

from jobs.annotation import Invitation
from jobs.annotation_invitations import TOKEN_PREFIX, Invitations
from jobs.errors import JobsError
from service.problems import Problem, from_jobs_error

LABEL = "/v1/label"
CHALLENGE = 'Bearer realm="cuecheck"'
"""Not Basic: no browser is to ask an annotator for a password."""

REASONS = {
    "unknown": "This invitation is not known here.",
    "expired": "This invitation expired on {expires:%Y-%m-%d %H:%M} UTC.",
    "revoked": "This invitation was revoked on {revoked:%Y-%m-%d %H:%M} UTC.",
}


def concerns_annotators(path: str) -> bool:
    """Whether a path is one that invitations open."""
    return path == LABEL or path.startswith(LABEL + "/")


def is_invitation(token: str | None) -> bool:
    """Whether a token looks like that of an invitation."""
    return token is not None and token.startswith(TOKEN_PREFIX)


async def admit(invitations: Invitations, headers: Headers) -> Invitation:
    """The invitation that a request to `/v1/label` carries.

    Raises:
        Problem: `unauthorised`, with the reason, where there is none or it opens nothing any more.
    """
    method, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip()
    if method.lower() != "bearer" or not is_invitation(token):
        raise _refused("The request carries no invitation.", "Open the link of your invitation.")
    try:
        if invitations.must_read(token):
            invitation, refusal = await asyncio.to_thread(invitations.verify, token)
        else:  # a thread would cost more than this
            invitation, refusal = invitations.verify(token)
    except JobsError as error:
        raise from_jobs_error(error) from error
    if refusal is not None or invitation is None:
        known = invitation.model_dump() if invitation else {}
        raise _refused(REASONS[refusal or "unknown"].format(**known), "Ask whoever invited you for another link.")
    return invitation


def _refused(detail: str, remedy: str) -> Problem:
    return Problem("unauthorised", detail, remedy=remedy, headers={"WWW-Authenticate": CHALLENGE})


_bearer = HTTPBearer(auto_error=False, scheme_name="invitation", description="The token of an invitation, `cci_...`.")


async def _invited(request: Request, bearer: Any = Security(_bearer)) -> Invitation:
    """The invitation was checked by `Guard`; the security scheme is here for the OpenAPI document."""
    found: Invitation = request.state.invitation
    return found


Invited = Annotated[Invitation, Depends(_invited)]
