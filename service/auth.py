"""Who may call what: every path but the health checks needs a valid key, and routes add the scope they need.

Annotators have no key: their invitations open `/v1/label` alone, and the page that asks it needs nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from jobs.annotation_invitations import Invitations
from jobs.errors import JobsError
from jobs.settings import Settings
from service.invited import admit, concerns_annotators, is_invitation
from service.keys import SCOPES, KeyStore, Scope
from service.problems import Problem, from_jobs_error

log = structlog.get_logger(__name__)

OPEN_PATHS = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
OPEN_PAGES = ("/label", "/static/")
"""The annotators' page, and what it is made of: they hold no data themselves."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CHALLENGE = 'Basic realm="cuecheck", charset="UTF-8", Bearer realm="cuecheck"'
"""Basic first: Chromium 156 overlooks it behind another scheme, and never asks for the key."""


@dataclass(frozen=True)
class Principal:
    """Who makes a request."""

    id: str
    name: str
    scopes: tuple[Scope, ...]

    def allows(self, scope: Scope) -> bool:
        """Whether this principal may do what `scope` stands for."""
        return scope in self.scopes or "admin" in self.scopes


LOCAL_USER = Principal(id="local", name="anyone on this machine", scopes=SCOPES)


def is_loopback(host: str) -> bool:
    """Whether a service bound to `host` is reached from its own machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def keys_needed(settings: Settings) -> bool:
    """Whether the service asks for keys; `auto` waives them on loopback alone."""
    return settings.auth == "on" or (settings.auth == "auto" and not is_loopback(settings.host))


def announce(settings: Settings, keys: KeyStore) -> None:
    """Say at start, so that nobody can overlook it, whether the service is open, and if not, how to get in."""
    if not keys_needed(settings):
        log.warning(
            "API KEYS ARE OFF: everyone who reaches this address may do everything",
            host=settings.host,
            auth=settings.auth,
            remedy="set CUECHECK_AUTH=on",
        )
    elif next(keys.list(), None) is None:
        log.warning("API keys are on and there is none yet", remedy="cuecheck keys create NAME --scope admin")


class Guard:
    """ASGI middleware that lets a request in only with a valid key; it runs before a byte of the body is read.

    The key is taken from `Authorization: Bearer`, `X-API-Key`, or as the password of HTTP Basic, which lets a browser
    ask for it and then send it with everything the pages do. What a browser sends by itself, a foreign page can make
    it send: so where no header was set on purpose, changes are refused when they come from another site.
    """

    def __init__(self, app: ASGIApp, keys: KeyStore, invitations: Invitations, needed: bool) -> None:
        self.app = app
        self.keys = keys
        self.invitations = invitations
        self.needed = needed

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        try:
            if concerns_annotators(scope["path"]):
                state["invitation"] = await admit(self.invitations, Headers(scope=scope))
            else:
                state["principal"] = await self._admit(scope)
        except Problem as problem:
            await problem.response(scope)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _admit(self, scope: Connection) -> Principal:
        headers = Headers(scope=scope)
        token, deliberate = _token(headers)
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if foreign and not deliberate and scope["method"] not in SAFE_METHODS:
            raise Problem(
                "forbidden", "A page of another site made this request.", remedy="Send the key in a header of its own."
            )
        if is_invitation(token):
            raise Problem("forbidden", "An invitation opens /v1/label and nothing else.", remedy="Send an API key.")
        if not self.needed:
            return LOCAL_USER
        if token is None:
            raise Problem(
                "unauthorised",
                "The request carries no API key.",
                remedy="Send `Authorization: Bearer cck_...` or `X-API-Key: cck_...`.",
                headers={"WWW-Authenticate": CHALLENGE},
            )
        try:
            record = await asyncio.to_thread(self.keys.verify, token)
        except JobsError as error:
            raise from_jobs_error(error) from error
        if record is None:
            raise Problem(
                "unauthorised",
                "The API key is unknown or has been revoked.",
                remedy="Ask an administrator for a new key.",
                headers={"WWW-Authenticate": CHALLENGE},
            )
        return Principal(id=record.id, name=record.name, scopes=tuple(record.scopes))


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path == OPEN_PAGES[0] or path.startswith(OPEN_PAGES[1])


def _token(headers: Headers) -> tuple[str | None, bool]:
    """The key that came along, and whether it was sent deliberately rather than by a browser of itself."""
    if "x-api-key" in headers:
        return headers["x-api-key"].strip(), True
    method, _, credentials = headers.get("authorization", "").partition(" ")
    if method.lower() == "bearer":
        return credentials.strip(), True
    if method.lower() == "basic":
        try:
            _, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", False
        return password, False
    return None, False


_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="An API key, `cck_...`.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="key in X-API-Key")


def require(*scopes: Scope) -> Callable[..., Awaitable[Principal]]:
    """A dependency that refuses principals with none of `scopes` and gives the others to the route.

    The key was checked by `Guard`; the two security schemes are here for the OpenAPI document.
    """

    async def principal(
        request: Request, bearer: Any = Security(_bearer), header: Any = Security(_header)
    ) -> Principal:
        found: Principal = request.state.principal
        if not any(found.allows(scope) for scope in scopes):
            needed = " or ".join(map(repr, scopes))
            raise Problem(
                "forbidden",
                f"Key {found.id} ({found.name}) has the scopes {', '.join(found.scopes)}; this needs {needed}.",
                remedy=f"Use a key with the scope {needed} or 'admin'.",
            )
        return found

    return principal
