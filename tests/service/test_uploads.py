"""Forms on their way to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request
from starlette.types import Message

from jobs.errors import StoreFull
from jobs.store import Store
from service import uploads
from service.problems import Problem
from service.uploads import Upload, receive

HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
FIELD = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n'


def request(*pieces: bytes, complete: bool = True) -> Request:
    """A request whose body arrives in pieces, and whose client hangs up after the last."""
    last = pieces[-1] if complete else None
    left: Iterator[Message] = iter(
        [{"type": "http.request", "body": piece, "more_body": piece is not last} for piece in pieces]
    )

    async def arrive() -> Message:
        return next(left, {"type": "http.disconnect"})

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    return Request({"type": "http", "method": "POST", "headers": headers}, arrive)


def received(store: Store, sent: Request) -> tuple[Upload, bytes]:
    """What arrived, and the bytes of its file while it is there."""

    async def read() -> tuple[Upload, bytes]:
        async with receive(sent, store) as upload:
            return upload, upload.path.read_bytes()

    return asyncio.run(read())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/store")


def test_a_form_in_pieces_is_a_file_and_its_fields(store: Store) -> None:
    body = FIELD + b"a name\r\n" + HEAD + bytes(range(256)) * 10 + b"\r\n--x--\r\n"
    pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
    upload, content = received(store, request(*pieces))
    assert content == bytes(range(256)) * 10
    assert upload.filename == "a.bin"
    assert upload.fields == {"name": "a name"}
    assert not upload.path.exists()


def test_a_client_that_hangs_up_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="closed"):
        received(store, request(HEAD, bytes(1000), complete=False))
    assert list((tmp_path / "store" / ".scratch").iterdir()) == []


@pytest.mark.parametrize("size", [10, 10_000_000], ids=["found at the end", "found on the way"])
def test_a_full_disk_is_said(size: int) -> None:
    sent = request(HEAD + bytes(size) + b"\r\n--x--\r\n")
    with pytest.raises(StoreFull, match="No room"):
        asyncio.run(uploads._parse(sent, Path("/dev/full")))


def test_a_field_without_end_is_not_collected(store: Store) -> None:
    with pytest.raises(Problem) as refused:
        received(store, request(FIELD + bytes(uploads.MAX_FIELD_BYTES + 1)))
    assert refused.value.kind == "malformed"
