"""A receiver of webhooks on this machine, which answers as a test wants it."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.jobs.http_server import QuietHandler, answering


@dataclass
class Receiver:
    """What it answers, and what it got.

    Attributes:
        port: of the loopback address.
        statuses: of the next answers; then 200.
        headers: of every answer.
        drips: whether it sends its answer a byte at a time, for ever.
        got: (headers in lower case, body) of every message.
        scheme: "http", or "https" where it has a certificate.
        asked_for: names that clients said, when they spoke TLS, to whom they want to speak; None where they said none.
    """

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    drips: bool = False
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    scheme: str = "http"
    asked_for: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Of the receiver."""
        return self.at("127.0.0.1")

    def at(self, host: str) -> str:
        """Its URL under a name of this machine."""
        return f"{self.scheme}://{host}:{self.port}/hook?x=1"

    def events(self) -> list[dict[str, Any]]:
        """The messages, read."""
        return [json.loads(body) for _, body in self.got]


@contextmanager
def receiving(certificate: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on a port of its own, which speaks TLS where it is given a certificate."""
    receiver = Receiver(scheme="http" if certificate is None else "https")

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            while receiver.drips:
                self.wfile.write(b"H")
                time.sleep(0.05)
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

    if certificate is not None:
        certificate.sni_callback = lambda _, name, __: receiver.asked_for.append(name)
    with answering(Handler, certificate) as port:
        receiver.port = port
        try:
            yield receiver
        finally:
            receiver.drips = False
