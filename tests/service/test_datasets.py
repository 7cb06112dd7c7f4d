"""Data sets over HTTP: streamed in, stored once, listed, deleted, and refused with the field at fault."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jobs.store import Store
from service.keys import KeyStore
from service.problems import TYPE_PREFIX
from tests.models.conftest import CLASSES
from tests.service.conftest import RunningServer, StartServer, wait_for
from tests.service.material import archive


def send(http: httpx.Client, content: bytes, **form: str) -> httpx.Response:
    return http.post("/v1/datasets", files={"file": ("pictures.zip", content)}, data=form)


def test_an_archive_becomes_a_data_set(http: httpx.Client) -> None:
    content = archive(3, seed=1)
    answer = send(http, content, name="three of each")
    assert answer.status_code == 201
    record = answer.json()
    assert record["id"] == hashlib.sha256(content).hexdigest()
    assert record["name"] == "three of each"
    assert record["classes"] == list(CLASSES)
    assert record["class_pictures"] == [3] * len(CLASSES)
    assert http.get(answer.headers["Location"]).json() == record


def test_the_same_bytes_are_stored_once(http: httpx.Client, server: RunningServer) -> None:
    content = archive(2, seed=2)
    first, second = send(http, content, name="first"), send(http, content, name="second")
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    blobs = list((server.settings.data_dir / "store" / "blobs").iterdir())
    assert sum(blob.read_bytes() == content for blob in blobs) == 1


def test_without_a_name_the_file_gives_it(http: httpx.Client) -> None:
    assert send(http, archive(1, seed=3)).json()["name"] == "pictures.zip"


def test_pages_of_the_list_hold_every_data_set_once(http: httpx.Client) -> None:
    sent = {send(http, archive(1, seed=seed)).json()["id"] for seed in (4, 5, 6)}
    found, cursor = [], ""
    while cursor is not None:
        page = http.get("/v1/datasets", params={"limit": 2, "cursor": cursor}).json()
        assert len(page["items"]) <= 2
        found += [record["id"] for record in page["items"]]
        cursor = page.get("next")
    assert sent <= set(found)
    assert len(found) == len(set(found))


def test_a_deleted_data_set_is_gone(http: httpx.Client, server: RunningServer) -> None:
    path = f"/v1/datasets/{send(http, archive(1, seed=7)).json()['id']}"
    assert http.delete(path).status_code == 204
    assert http.get(path).status_code == 404
    assert http.delete(path).status_code == 404
    assert not (server.settings.data_dir / "store" / "blobs" / path.rpartition("/")[2]).exists()


@pytest.mark.parametrize(
    ("request_", "status", "kind", "field"),
    [
        ({"files": {"file": ("a.zip", b"")}}, 422, "invalid", "file"),
        ({"files": {"file": ("a.zip", b"not an archive at all")}}, 422, "invalid", "file"),
        ({"files": {"other": ("a.zip", b"x")}}, 422, "invalid", "file"),
        ({"files": {"note": (None, "a form without a file")}}, 422, "invalid", "file"),
        ({"files": [("file", ("a.zip", b"x")), ("file", ("b.zip", b"y"))]}, 400, "malformed", "body"),
        ({"json": {"file": "a.zip"}}, 415, "unsupported-media", "Content-Type"),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "malformed", "body"),
    ],
    ids=["empty", "no archive", "wrong field", "no file", "two files", "no form", "no boundary"],
)
def test_what_cannot_be_used_is_refused(
    http: httpx.Client, request_: dict[str, object], status: int, kind: str, field: str
) -> None:
    answer = http.post("/v1/datasets", **request_)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == TYPE_PREFIX + kind
    assert answer.json()["field"] == field


def test_nothing_of_a_refused_upload_is_left(http: httpx.Client, server: RunningServer) -> None:
    send(http, b"not an archive" * 1000)
    assert list((server.settings.data_dir / "store" / ".scratch").iterdir()) == []


def test_nothing_of_an_interrupted_upload_is_left(server: RunningServer) -> None:
    scratch = server.settings.data_dir / "store" / ".scratch"
    with socket.create_connection(("127.0.0.1", server.settings.port)) as connection:
        connection.sendall(
            b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n' + bytes(100_000)
        )
        wait_for(lambda: list(scratch.iterdir()), 30)
    wait_for(lambda: not list(scratch.iterdir()), 30)
    assert "Traceback" not in server.log.read_text()


def test_an_upload_is_not_held_in_memory(http: httpx.Client, server: RunningServer) -> None:
    def highest() -> int:
        """Peak memory of all processes of the service, bytes."""
        total = 0
        for process in server.family():
            with Path(f"/proc/{process.pid}/status").open() as status:
                total += sum(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
        return total

    send(http, b"a first upload loads what any upload needs")
    before = highest()
    size = 96 * 2**20
    assert send(http, os.urandom(2**20) * (size // 2**20)).status_code == 422
    assert highest() - before < size / 4


@pytest.fixture(scope="module")
def strict(start_server: StartServer) -> RunningServer:
    """A service with keys and a small limit on uploads."""
    return start_server(auth="on", max_upload_bytes=100_000, classifier_dry_run_seconds=5)


@pytest.fixture(scope="module")
def keys(strict: RunningServer) -> KeyStore:
    """Its keys."""
    return KeyStore(Store.from_settings(strict.settings))


@pytest.mark.parametrize("announced", [True, False], ids=["with Content-Length", "chunked"])
def test_an_upload_over_the_limit_gets_413(strict: RunningServer, keys: KeyStore, announced: bool) -> None:
    _, token = keys.create("auditor", ["audit"])
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n' + bytes(200_000)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 5000):
            yield body[start : start + 5000]

    answer = httpx.post(
        f"{strict.url}/v1/datasets",
        content=body if announced else pieces(),
        headers={"Content-Type": "multipart/form-data; boundary=x", "X-API-Key": token},
    )
    assert answer.status_code == 413
    assert answer.json()["type"] == TYPE_PREFIX + "too-large"


@pytest.mark.parametrize("path", ["datasets", "classifiers", "audits", "jobs"])
def test_only_keys_with_the_scope_audit_get_in(strict: RunningServer, keys: KeyStore, path: str) -> None:
    statuses = {
        scope: httpx.get(f"{strict.url}/v1/{path}", headers={"X-API-Key": keys.create("x", [scope])[1]}).status_code
        for scope in ("infer", "audit", "annotate", "admin")
    }
    assert statuses == {"infer": 403, "audit": 200, "annotate": 403, "admin": 200}
    assert httpx.get(f"{strict.url}/v1/{path}").status_code == 401
