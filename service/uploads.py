"""Uploads of any size: the file of a form is written to the store's disk as it arrives and never held in memory.

How much may arrive, and how slowly, is bounded for every request by `service.limits`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from jobs.errors import StoreFull
from jobs.store import Store
from service.problems import Problem

MAX_FIELD_BYTES = 2**20
"""Largest text field beside the file; a specification with a thousand class names has some 50 KiB."""
MAX_FIELDS = 4

UPLOAD_REFUSED = ("malformed", "timeout", "too-large", "unsupported-media", "invalid", "key-reused")
"""Problems that any upload may end in, beside those of whoever is not let in."""


def upload_form(file: str, beside: Mapping[str, Mapping[str, Any]], required: Sequence[str] = ()) -> dict[str, Any]:
    """The OpenAPI description of a form that `receive` reads.

    Args:
        file: what the file is.
        beside: the text fields beside it, each with its schema.
        required: those of them that must be there.
    """
    schema = {
        "type": "object",
        "required": ["file", *required],
        "properties": {"file": {"type": "string", "format": "binary", "description": file}, **beside},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@dataclass(frozen=True)
class Upload:
    """One received form: the file, whole on the local disk, and the text fields beside it."""

    path: Path
    filename: str
    fields: dict[str, str]


@asynccontextmanager
async def receive(request: Request, store: Store) -> AsyncIterator[Upload]:
    """Read a multipart form with exactly one file, called `file`, to a scratch file that is gone at the end.

    Raises:
        Problem: `unsupported-media`, `malformed`, or `invalid` for no file, or more than one.
        StoreFull: The disk is full.
    """
    media_type = request.headers.get("content-type", "")
    if not media_type.startswith("multipart/form-data"):
        raise Problem(
            "unsupported-media",
            f"An upload is a multipart form, not {media_type[:100] or 'a body without a type'}.",
            field="Content-Type",
            remedy="Send multipart/form-data with the file in the field 'file'.",
        )
    scratch = store.scratch_file()
    path = await run_in_threadpool(scratch.__enter__)
    try:
        yield await _parse(request, path)
    finally:
        await run_in_threadpool(scratch.__exit__, None, None, None)


async def _parse(request: Request, path: Path) -> Upload:
    try:
        with path.open("wb") as target:
            async with aclosing(request.stream()) as stream:
                form = await _DiskParser(request, stream, target).parse()
    except MultiPartException as error:
        raise Problem("malformed", f"The form cannot be read: {error.message}", field="body") from error
    except ClientDisconnect as error:  # nobody reads this, but it is no fault of the service either
        raise Problem("malformed", "The connection was closed before the form had ended.") from error
    except OSError as error:
        raise StoreFull(
            f"No room for the upload: {error.strerror}.", remedy="Free some space, then send it again."
        ) from error
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    if [name for name, _ in files] != ["file"]:
        raise Problem(
            "invalid",
            f"The form has {len(files)} files ({', '.join(name for name, _ in files) or 'none'}).",
            field="file",
            remedy="Send exactly one file, in the field 'file'.",
        )
    fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    return Upload(path=path, filename=files[0][1].filename or "", fields=fields)


class _DiskParser(MultiPartParser):
    """Starlette's parser with a file of our own to write to.

    Starlette 1.10 keeps a file in memory up to 1 MiB and then in the system's temporary folder, which may be memory
    too, and is not the disk that the store would only have to rename it on.
    """

    def __init__(self, request: Request, stream: Any, target: BinaryIO) -> None:
        super().__init__(request.headers, stream, max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
        self._target: Any = target

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        file = self._current_part.file
        if file is not None:
            file.file.close()
            file.file = self._target
