"""Files of the store on their way out: streamed, in parts where asked, with the headers that each kind needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from jobs.store import Store
from service.ranges import requested_range

JSON, HTML, JPEG, PNG = "application/json", "text/html", "image/jpeg", "image/png"
XML, MARKDOWN = "application/xml", "text/markdown"
MEDIA_TYPES = {
    "json": JSON,
    "html": "text/html; charset=utf-8",
    "md": f"{MARKDOWN}; charset=utf-8",
    "jpg": JPEG,
    "png": PNG,
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "zip": "application/zip",
    "tar": "application/x-tar",
    "jsonl": "application/x-ndjson",
}
CHUNK = 2**18
KEPT = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
"""What a job has left never changes: the id stands for everything that decides its bytes."""
HTML_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
"""A report shows names that strangers chose: in a sandbox even one that slipped through could not reach the service."""


class Download(NamedTuple):
    """A file of the store on its way out."""

    name: str
    media_type: str
    headers: dict[str, str]


def media_type_of(name: str) -> str:
    """By the ending of the file's name."""
    return MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def kept(name: str, **headers: str) -> Download:
    """A file that a finished job has left, with further headers."""
    media_type = media_type_of(name)
    guarded = {"Content-Security-Policy": HTML_POLICY} if media_type.startswith(HTML) else {}
    return Download(name, media_type, {**headers, **KEPT, **guarded})


def send(request: Request, store: Store, file: Download) -> Response:
    """Stream a file, or the part of it that was asked for; it is never held whole.

    Raises:
        NotFound: There is no such file.
        Problem: `range`, if the part begins after the end.
    """
    size = store.size(file.name)
    start, stop = requested_range(request.headers.get("range"), size)
    headers = {**file.headers, "Accept-Ranges": "bytes", "Content-Length": str(stop - start)}
    status = 200
    if stop - start < size:
        status = 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return StreamingResponse(_chunks(store, file.name, start, stop), status, headers, file.media_type)


def _chunks(store: Store, name: str, start: int, stop: int) -> Iterator[bytes]:
    with store.open(name) as stream:
        stream.seek(start)
        while start < stop and (chunk := stream.read(min(CHUNK, stop - start))):
            start += len(chunk)
            yield chunk
