"""A public host of files on this machine, which keeps to HTTP or breaks off as a test wants it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.jobs.http_server import QuietHandler, answering


@dataclass
class FileHost:
    """What it serves at `/file`, how, and what it was asked.

    Attributes:
        url: of the file.
        content: of the file.
        etag: of this version of the file; empty for none.
        breaks_after: bytes of an answer after which the connection is closed, one entry for each request; then none.
        ranges: whether it knows ranges.
        status: of the answer where it is no file.
        media_type: of the answer.
        moved_to: where `/moved` leads.
        states_length: whether it says how long the answer is.
        asked: the `Range` of every request, None where it had none.
        sent: bytes of the file sent so far.
    """

    url: str = ""
    content: bytes = b""
    etag: str = '"one"'
    breaks_after: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int = 200
    media_type: str = "application/octet-stream"
    moved_to: str = "/file"
    states_length: bool = True
    asked: list[str | None] = field(default_factory=list)
    sent: int = 0


@contextmanager
def serving(content: bytes) -> Iterator[FileHost]:
    """A host of this file, on a port of its own."""
    host = FileHost(content=content)

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", host.moved_to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = self.headers.get("Range")
            host.asked.append(asked)
            start = 0
            if asked and host.ranges and self.headers.get("If-Range") == host.etag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start and start >= len(host.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(host.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = host.content[start:]
            self.send_response(206 if start else host.status)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(host.content) - 1}/{len(host.content)}")
            if host.etag:
                self.send_header("ETag", host.etag)
            self.send_header("Content-Type", host.media_type)
            if host.states_length:
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            if host.breaks_after:
                body = body[: host.breaks_after.pop(0)]
                self.close_connection = True
            host.sent += len(body)
            self.wfile.write(body)
            if not host.states_length:
                self.close_connection = True

    with answering(Handler) as port:
        host.url = f"http://127.0.0.1:{port}/file"
        yield host
