"""Files from public hosts: resumed where they broke off, bounded, verified, and there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
from pydantic import BaseModel, ConfigDict

from jobs.errors import Conflict, Invalid, JobsError, LimitExceeded, StoreFull, Unavailable
from jobs.store import file_sha256

SECONDS = 30.0
"""Longest wait for a connection, and for the next bytes."""
TRIES = 5
"""Times a broken connection is opened anew, as long as each brings something."""

Progress = Callable[[int, int | None], None]
"""Told the bytes that are there, and how many there will be where the host says so."""


@dataclass(frozen=True)
class Downloaded:
    """A file that has arrived.

    Attributes:
        path: where it lies.
        url: the address it came from, before redirections.
        sha256: of its bytes, 64 hexadecimal digits.
        bytes: its size.
    """

    path: Path
    url: str
    sha256: str
    bytes: int


class _Start(BaseModel):
    """What is known of the beginning of a file that is there: `<name>.part.json`."""

    model_config = ConfigDict(frozen=True)

    url: str
    validator: str  # a strong ETag or a date; a host gives the rest only of the file that still has it


class _Broken(JobsError):
    """The connection ended before the file did."""


def download(
    urls: Sequence[str],
    target: Path,
    *,
    most_bytes: int,
    sha256: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Downloaded:
    """Bring a file here, by the first address that works.

    What arrived of it before, in this call or an earlier one, is kept as `<target>.part` and not sent again where the
    host allows. A file that is there under its final name is taken as it is, if it has the digest.

    Args:
        urls: http or https addresses of the same file, the best first.
        target: its final name; the folder is made where it lacks.
        most_bytes: a larger file is refused.
        sha256: of the file, where it is known.
        progress: told how far it is.

    Raises:
        Invalid: no such file, a page instead of a file, or another digest than stated; nothing is kept.
        LimitExceeded: it is too large. StoreFull: no room. Conflict: another process is downloading it.
        Unavailable: no host answers, or the connection broke; what arrived is kept.
    """
    for url in urls:
        if _scheme(url) not in ("http", "https"):
            raise Invalid(f"{url!r} is no http or https address.", field="url")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        file, url = target, urls[0]
        if not target.exists():
            _fetch_any(urls, target, most_bytes, progress)
            start = _start(target)
            file, url = _part(target), start.url if start else url
        found = file_sha256(file)
        if sha256 is not None and found != sha256.lower():
            file.unlink()
            _about(target).unlink(missing_ok=True)
            raise Invalid(
                f"{url} gave a file with the sha256 {found}, not {sha256.lower()} as stated; it was removed.",
                field="sha256",
                remedy="Try again; if it stays so, the file is not the one that was published.",
            )
        file.replace(target)
        _about(target).unlink(missing_ok=True)
        return Downloaded(target, url, found, target.stat().st_size)


def _fetch_any(urls: Sequence[str], target: Path, most_bytes: int, progress: Progress) -> None:
    failures: list[JobsError] = []
    for url in urls:
        try:
            _fetch(url, target, most_bytes, progress)
        except (Invalid, Unavailable) as error:
            if isinstance(error, StoreFull):
                raise
            failures.append(error)
        else:
            return
    if len(failures) == 1:
        raise failures[0]
    kind = Invalid if all(isinstance(failure, Invalid) for failure in failures) else Unavailable
    raise kind(" ".join(failure.message for failure in failures), remedy=failures[-1].remedy)


def _fetch(url: str, target: Path, most_bytes: int, progress: Progress) -> None:
    """Bring what lacks of `<target>.part`; a connection that broke is opened anew."""
    tries = 0
    with httpx.Client(follow_redirects=True, timeout=SECONDS) as client:
        while True:
            before = _size(_part(target))
            try:
                _receive(client, url, target, most_bytes, progress)
                return
            except _Broken as error:
                tries = tries + 1 if _size(_part(target)) > before else TRIES
                if tries >= TRIES:
                    raise Unavailable(
                        f"{url} could not be read to its end: {error.message}",
                        remedy="Run it again: what has arrived is kept.",
                    ) from error


def _receive(client: httpx.Client, url: str, target: Path, most_bytes: int, progress: Progress) -> None:
    part, about = _part(target), _about(target)
    # Identity: a range of a compressed answer is no range of the file.
    headers = {"Accept-Encoding": "identity"}
    if (known := _start(target)) is not None and known.url == url and known.validator:
        headers |= {"Range": f"bytes={_size(part)}-", "If-Range": known.validator}
    try:
        with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 416:  # it is all here, or is another file now; the digest or a new start tells
                if _total(answer) == _size(part):
                    return
                part.unlink(missing_ok=True)
                raise _Broken("the host has another file now.")
            offset = _offset(answer, _size(part))
            _refuse(answer, url)
            _refuse_open_way(answer, url)
            length = answer.headers.get("content-length", "")
            total = offset + int(length) if length.isdecimal() else None
            if total is not None and total > most_bytes:
                raise _too_large(url, total, most_bytes)
            if offset == 0:
                part.unlink(missing_ok=True)  # first, lest it be taken for the beginning of what `about` says
                about.write_text(_Start(url=url, validator=_validator(answer)).model_dump_json())
            with part.open("ab") as file:
                _write(answer, file, url, offset, total, most_bytes, progress)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise Invalid(f"{url} leads to an address that is neither http nor https.", field="url") from error
    except httpx.HTTPError as error:
        raise _Broken(f"{error or type(error).__name__}.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(
                f"No room for {target.name!r}: {error.strerror}.", remedy="Free some space, then run it again."
            ) from error
        raise


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


def _write(
    answer: httpx.Response,
    file: _Writable,
    url: str,
    done: int,
    total: int | None,
    most_bytes: int,
    progress: Progress,
) -> None:
    progress(done, total)
    for chunk in answer.iter_raw():
        done += len(chunk)
        if done > most_bytes:
            raise _too_large(url, done, most_bytes)
        file.write(chunk)
        progress(done, total)
    if total is not None and done < total:
        raise _Broken(f"{done:,} of {total:,} bytes have arrived.")


def _offset(answer: httpx.Response, size: int) -> int:
    """Where in the file the answer begins: at the end of what is here, or at its beginning."""
    if answer.status_code != 206:
        return 0
    start = re.match(r"bytes (\d+)-", answer.headers.get("content-range", ""))
    if start is None or int(start[1]) != size:
        raise Invalid("The host sends another part of the file than was asked for.", field="url")
    return size


def _total(answer: httpx.Response) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("content-range", ""))
    return int(found[1]) if found else None


def _refuse(answer: httpx.Response, url: str) -> None:
    """Raise unless the answer brings a file."""
    status = answer.status_code
    if status in (408, 425, 429) or status >= 500:
        raise Unavailable(f"{url} answered {status} {answer.reason_phrase}.", remedy="Try again later.")
    if status not in (200, 206):
        raise Invalid(
            f"{url} answered {status} {answer.reason_phrase}.",
            field="url",
            remedy="The file may have moved: get it in another way, then import it.",
        )
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise Invalid(
            f"{url} gives a page, not a file.",
            field="url",
            remedy="Open it in a browser and save the file, then import it.",
        )


def _refuse_open_way(answer: httpx.Response, url: str) -> None:
    """Raise if a protected address led over an open one, on which anybody may put another file in its place."""
    way = [hop.url for hop in (*answer.history, answer)]
    if way[0].scheme == "https" and any(hop.scheme != "https" for hop in way):
        raise Invalid(
            f"{url} leads to the unprotected address {way[-1]}.",
            field="url",
            remedy="Get the file in another way, then import it.",
        )


def _validator(answer: httpx.Response) -> str:
    """What tells this version of the file from another one; empty where the host says nothing that does."""
    tag = str(answer.headers.get("etag", ""))
    return str(answer.headers.get("last-modified", "")) if tag.startswith("W/") or not tag else tag


def _scheme(url: str) -> str:
    try:
        return httpx.URL(url).scheme
    except httpx.InvalidURL:
        return ""


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _about(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _start(target: Path) -> _Start | None:
    """What is known of the beginning that is here; None where there is none, or nothing is known of it."""
    try:
        return _Start.model_validate_json(_about(target).read_bytes()) if _size(_part(target)) else None
    except (OSError, ValueError):
        return None


def _too_large(url: str, size: int, most: int) -> LimitExceeded:
    return LimitExceeded(
        f"{url} gives {size:,} bytes or more; at most {most:,} are taken.",
        remedy="Have CUECHECK_MAX_UPLOAD_BYTES raised.",
    )


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the file against other processes."""
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(f"Another process is downloading {target.name!r}.", remedy="Wait for it to end.") from error
        yield
