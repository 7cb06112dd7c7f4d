"""The members of a plain tar file, header by header.

`tarfile` reads extended headers of any declared size into memory (a pax header may claim all of an upload) and keeps an
object per member. Layout: POSIX.1-2017 `pax`, sections "ustar Interchange Format" and "pax Header Block", and the GNU
tar manual, "Basic Tar Format" (types L, K and S, base-256 sizes).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jobs.archive_member import DEVICE, LINK, TRUNCATED, UNKNOWN_COMPRESSION, Member
from jobs.errors import Invalid

BLOCK = 512
LONGEST_HEADER = 64 * 1024  # a path of 4,096 bytes and its pax record fit many times

_REGULAR = (b"\x00", b"0", b"7")
_PROBLEMS = {b"1": LINK, b"2": LINK, b"3": DEVICE, b"4": DEVICE, b"6": DEVICE, b"S": UNKNOWN_COMPRESSION}
_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"


def is_tar(start: bytes) -> bool:
    """Whether these first bytes of a file are a tar header."""
    return len(start) >= BLOCK and _checksum_fits(start[:BLOCK])


def walk_tar(path: Path) -> Iterator[Member]:
    """Every file in the archive's order.

    Raises:
        Invalid: A header is damaged.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        name: str | None = None
        wide_size: int | None = None
        while header := _next_header(file):
            kind, size = header[156:157], _number(header[124:136])
            if kind in (_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL):
                data = _extended(file, size)
                if kind == _GNU_NAME:
                    name = _text(data.split(b"\x00", 1)[0])
                elif kind == _PAX:
                    records = _pax_records(data)
                    name = records.get("path", name)
                    wide_size = int(records["size"]) if records.get("size", "").isdecimal() else wide_size
                continue
            size = size if wide_size is None else wide_size
            offset = file.tell()
            problem = _PROBLEMS.get(kind)
            if problem in (LINK, DEVICE):
                size = 0  # POSIX allows a link to state the size of what it points at; no bytes follow
            if problem is None and offset + size > end:
                problem = TRUNCATED
            full_name = name or _ustar_name(header)
            if problem or (kind in _REGULAR and not full_name.endswith("/")):  # tar before POSIX marks folders so
                yield Member(name=full_name, offset=offset, length=size, size=size, problem=problem)
            file.seek(offset + -(-size // BLOCK) * BLOCK)
            name = wide_size = None


def _next_header(file: BinaryIO) -> bytes:
    """The next header block; empty at the archive's end, which is a block of zeros or the end of the file."""
    header = file.read(BLOCK)
    if len(header) < BLOCK or not header.strip(b"\x00"):
        return b""
    if not _checksum_fits(header):
        raise Invalid(f"The tar file is damaged near byte {file.tell() - BLOCK:,}.", field="file")
    return header


def _checksum_fits(header: bytes) -> bool:
    try:
        stated = _number(header[148:156])
    except Invalid:
        return False
    return stated == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU base-256, for sizes from 8 GiB
        value = int.from_bytes(field[1:], "big")
        if field[0] != 0x80:
            raise Invalid("The tar file states a negative size.", field="file")
        return value
    digits = field.split(b"\x00", 1)[0].strip()
    try:
        return int(digits or b"0", 8)
    except ValueError as error:
        raise Invalid("The tar file states a size that is no number.", field="file") from error


def _extended(file: BinaryIO, size: int) -> bytes:
    if size > LONGEST_HEADER:
        raise Invalid(f"The tar file holds a header of {size:,} bytes.", field="file")
    return file.read(-(-size // BLOCK) * BLOCK)[:size]


def _pax_records(data: bytes) -> dict[str, str]:
    """`b"27 path=some/long/name.jpg\\n"` and further records of that form."""
    records = {}
    while data:
        length, _, rest = data.partition(b" ")
        if not length.isdigit() or not len(length) + 1 < int(length) <= len(data):
            raise Invalid("The tar file holds a damaged pax header.", field="file")
        key, _, value = rest[: int(length) - len(length) - 1].removesuffix(b"\n").partition(b"=")
        records[_text(key)] = _text(value)
        data = data[int(length) :]
    return records


def _ustar_name(header: bytes) -> str:
    name = _text(header[:100].split(b"\x00", 1)[0])
    prefix = _text(header[345:500].split(b"\x00", 1)[0]) if header[257:263] == b"ustar\x00" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
