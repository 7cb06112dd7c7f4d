"""Bounds on what a connection may cost: bytes and time of a body on its way in, time of an answer on its way out."""

from __future__ import annotations

import asyncio
import socket
from typing import ClassVar

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jobs.settings import Settings
from service.problems import Problem

UPLOAD_PATHS = ("/v1/datasets", "/v1/classifiers", "/v1/encoders", "/v1/banks")
SPOOL_BYTES = 2**20
"""Parts of a form up to this size stay in memory, larger ones go to a temporary file."""


def spool_large_parts() -> None:
    """Undo what importing litserve 0.2.19 does to every form of the process: it keeps uploads of any size in memory."""
    MultiPartParser.spool_max_size = SPOOL_BYTES


class BodyLimit:
    """ASGI middleware that ends a request whose body is too long, whether or not its length was announced.

    The other places to do so fall short: LitServe's `max_payload_size` (0.2.19) answers every POST with 400 if it is
    given as documented, and Starlette's middleware (1.10) answers in plain text.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit, idle = self._limit(scope), self.settings.idle_seconds
        taken = 0
        complete = started = False

        async def limited() -> Message:
            nonlocal taken, complete
            if complete:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), idle)
            except TimeoutError:
                raise _Stopped(Problem("timeout", f"Nothing of the body arrived for {idle:.0f} s.")) from None
            complete = not message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > limit:
                raise _Stopped(_too_large(limit))
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            announced = Headers(scope=scope).get("content-length", "")
            if announced.isdecimal() and int(announced) > limit:
                raise _Stopped(_too_large(limit))
            await self.app(scope, limited, watched)
        except _Stopped as stopped:
            if started:
                raise RuntimeError("the body was cut off after the answer had begun") from stopped
            await stopped.problem.response(scope)(scope, receive, send)

    def _limit(self, scope: Scope) -> int:
        uploads = scope["path"].rstrip("/") in UPLOAD_PATHS
        return self.settings.max_upload_bytes if uploads else self.settings.max_body_bytes


class _Stopped(BaseException):
    """Not an `Exception`: FastAPI 0.165 turns those raised while it reads a form into a plain 400."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def _too_large(limit: int) -> Problem:
    return Problem(
        "too-large",
        f"The body is longer than the {limit:,} bytes allowed here.",
        field="body",
        remedy="Send less at a time, or have the limit raised (see docs/settings.md).",
    )


class Connection(HttpToolsProtocol):
    """One HTTP connection, dropped by the kernel when its client stops taking bytes.

    uvicorn 0.54 waits for ever on a client that does not read, and its answer stays in memory for as long.
    `TCP_USER_TIMEOUT` bounds how long sent bytes may stay untaken, a closed receive window included.

    Attributes:
        idle_seconds: that bound; set once, before the server starts.
        closing: set when the server is asked to stop, so that endless answers (event streams) come to an end.
    """

    idle_seconds: ClassVar[float] = 30.0
    closing: ClassVar[asyncio.Event] = asyncio.Event()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Set the bound on a new connection."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(self.idle_seconds * 1000))

    def shutdown(self) -> None:
        """Called by uvicorn on every open connection when the server is asked to stop."""
        self.closing.set()
        super().shutdown()
