"""What a caller may cost: bytes, pictures, room in the queue and patience, each with its own refusal."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.service.conftest import RunningServer, StartServer, encoded, picture, wait_for

MIB = 2**20


@pytest.fixture(scope="module")
def small(start_server: StartServer) -> RunningServer:
    """A service with little room and little patience."""
    return start_server(max_body_bytes=4 * MIB, max_pictures=4, max_pixels=250_000, max_queue=5, idle_seconds=2)


FORM_START = b'--b\r\nContent-Disposition: form-data; name="pictures"; filename="zeros.png"\r\n\r\n'


def in_pieces(size: int) -> Iterator[bytes]:
    """A body of unannounced length, which goes on the wire in chunks."""
    yield FORM_START
    for _ in range(0, size, MIB):
        yield bytes(MIB)


@pytest.mark.parametrize("path", ["/v1/masks", "/v1/keys", "/v1/audits"])
def test_a_body_over_the_limit_is_refused(small: RunningServer, path: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    announced = httpx.post(small.url + path, content=FORM_START + bytes(5 * MIB), headers=headers)
    unannounced = httpx.post(small.url + path, content=in_pieces(64 * MIB), headers=headers)
    for response in (announced, unannounced):
        assert response.status_code == 413
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["type"] == "urn:cuecheck:problem:too-large"
        assert response.json()["field"] == "body"


def test_a_body_of_a_real_form_over_the_limit_is_refused_too(small: RunningServer) -> None:
    assert small.ask(bytes(5 * MIB)).status_code == 413


def test_more_pictures_than_allowed_are_refused(small: RunningServer) -> None:
    response = small.ask(*[encoded(picture())] * 5)
    assert response.status_code == 422
    assert response.json()["field"] == "pictures"


def test_a_picture_with_more_pixels_than_allowed_is_refused_by_its_header(small: RunningServer) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + b"\0\0\0\0"
    for content in (encoded(picture(501, 501)), bomb):
        response = small.ask(content)
        assert response.status_code == 422
        assert response.json()["type"] == "urn:cuecheck:problem:bad-picture"
        assert response.json()["field"] == "pictures[0]"


def test_a_full_queue_says_when_to_come_again(small: RunningServer) -> None:
    worker = small.worker()
    worker.suspend()
    with ThreadPoolExecutor() as clients:
        waiting = clients.submit(small.ask, *[encoded(picture())] * 4)
        wait_for(lambda: small.metric("cuecheck_pictures_waiting") == 4, 20)
        refused = small.ask(*[encoded(picture())] * 2)
        last = clients.submit(small.ask, encoded(picture()))
        wait_for(lambda: small.metric("cuecheck_pictures_waiting") == 5, 20)
        worker.resume()
        assert waiting.result().status_code == last.result().status_code == 200
    assert refused.status_code == 429
    assert refused.json()["type"] == "urn:cuecheck:problem:too-busy"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert small.metric("cuecheck_pictures_waiting") == 0
    assert small.ask(*[encoded(picture())] * 4).status_code == 200


def test_a_client_that_stops_sending_is_let_go(small: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", small.settings.port), timeout=20) as client:
        client.sendall(
            b"POST /v1/masks HTTP/1.1\r\nHost: cuecheck\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_stops_reading_is_let_go_and_holds_up_nobody(small: RunningServer) -> None:
    fields = {"maps": "contributions", "encoding": "npz", "size": "original", "classes": "top5"}  # some 20 MB
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.send(client, encoded(picture(490, 490)), **fields)
        assert client.recv(12) == b"HTTP/1.1 200"
        _, port = client.getsockname()
        assert connected(small, port)
        assert small.ask(encoded(picture())).status_code == 200
        wait_for(lambda: not connected(small, port), 10 * small.settings.idle_seconds)


def connected(server: RunningServer, port: int) -> bool:
    """Whether the service still keeps its end of a connection from `port`, and with it what was not taken."""
    return any(
        connection.laddr.port == server.settings.port and connection.raddr and connection.raddr.port == port
        for process in server.family()
        for connection in process.net_connections("tcp")
    )
