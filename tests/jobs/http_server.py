"""An HTTP server on a port of its own, for tests that need another host."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class QuietHandler(BaseHTTPRequestHandler):
    """Says nothing; what it answers is for its users to say."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the tests' output."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early is no news here, and what some tests are about."""


@contextmanager
def answering(handler: type[QuietHandler], certificate: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that answers so, over TLS where it is given a certificate; its port, of the loopback address."""
    server = _Server(("127.0.0.1", 0), handler)
    if certificate is not None:
        server.socket = certificate.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
