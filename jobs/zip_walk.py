"""The members of a zip file, read from its central directory entry by entry.

`zipfile` builds an object of some 600 bytes for every entry before anything can be counted, which a forged directory
turns into gigabytes. Layout: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory),
4.3.14 to 4.3.16 (ends of the directory), 4.5.3 (zip64 extra field).
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from jobs.archive_member import DAMAGED, DEFLATE, DEVICE, ENCRYPTED, LINK, STORED, UNKNOWN_COMPRESSION, Member
from jobs.errors import Invalid

_LOCAL = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field
_CENTRAL = struct.Struct("<4sxB2xHH4xLLLHHH4xLL")  # signature, system, flags, method, crc, sizes, lengths, mode, offset
_END = struct.Struct("<4s6xHLLH")  # signature, entries, size and offset of the directory, length of the comment
_LOCATOR64 = struct.Struct("<4s4xQ4x")  # signature, offset of the zip64 end
_END64 = struct.Struct("<4s28xQQQ")  # signature, entries, size and offset of the directory

_METHODS = {0: STORED, 8: DEFLATE}
_UNIX = 3
_FLAG_ENCRYPTED, _FLAG_UTF8 = 0x1, 0x800
_IN_EXTRA = 0xFFFFFFFF
_ZIP64_EXTRA = 1
_LONGEST_COMMENT = 0xFFFF


@dataclass(frozen=True)
class _Directory:
    """Where the central directory lies; `shift` is what stands before the zip in the file, as in self-extractors."""

    start: int
    size: int
    shift: int


def is_zip(path: Path) -> bool:
    """Whether the file ends as a zip does."""
    with path.open("rb") as file:
        return _find_directory(file) is not None


def walk_zip(path: Path) -> Iterator[Member]:
    """Every file in the directory's order, each checked against its local header.

    Raises:
        Invalid: The directory is damaged.
    """
    with path.open("rb") as file:
        directory = _find_directory(file)
        if directory is None:
            raise Invalid("The zip file has no readable directory at its end.", field="file")
        file.seek(directory.start)
        left = directory.size
        while left > 0:
            header = file.read(_CENTRAL.size)
            if len(header) < _CENTRAL.size or not header.startswith(b"PK\x01\x02"):
                raise Invalid("The directory of the zip file is damaged.", field="file")
            _, system, flags, method, crc, length, size, *lengths, mode, offset = _CENTRAL.unpack(header)
            raw_name, extra, _ = (file.read(count) for count in lengths)
            left -= _CENTRAL.size + sum(lengths)
            if raw_name.endswith((b"/", b"\\")) and size == 0:
                continue
            size, length, offset = _wide(extra, size, length, offset)
            kind = stat.S_IFMT(mode >> 16) if system == _UNIX else 0
            offset += directory.shift
            data = _data_offset(file.fileno(), offset, raw_name) if offset < directory.start else None
            problem = _problem(flags, method, kind)
            if problem is None and (data is None or data + length > directory.start):
                problem = DAMAGED
            yield Member(
                name=raw_name.decode("utf-8" if flags & _FLAG_UTF8 else "cp437", "backslashreplace"),
                offset=data or 0,
                length=length,
                size=size,
                method=_METHODS.get(method, STORED),
                crc32=crc,
                problem=problem,
            )


def _find_directory(file: BinaryIO) -> _Directory | None:
    total = file.seek(0, os.SEEK_END)
    tail_start = max(0, total - _END.size - _LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        return None
    _, _, size, offset, _ = _END.unpack_from(tail, place)
    end = tail_start + place
    file.seek(max(0, end - _LOCATOR64.size))
    locator = file.read(_LOCATOR64.size)
    if locator.startswith(b"PK\x06\x07"):
        place = _LOCATOR64.unpack(locator)[1]
        if place >= end:
            return None
        file.seek(place)
        record = file.read(_END64.size)
        if len(record) < _END64.size or not record.startswith(b"PK\x06\x06"):
            return None
        _, _, size, offset = _END64.unpack(record)
        return _Directory(offset, size, 0) if offset + size <= end else None
    start = end - size
    return _Directory(start, size, start - offset) if 0 <= offset <= start else None


def _wide(extra: bytes, size: int, length: int, offset: int) -> tuple[int, int, int]:
    """Size, length and offset, each taken from the zip64 extra field where its 32 bits say so."""
    values = [size, length, offset]
    place = 0
    while place + 4 <= len(extra):
        tag, count = struct.unpack_from("<HH", extra, place)
        if tag == _ZIP64_EXTRA:
            wide = iter(struct.unpack_from(f"<{min(count, len(extra) - place - 4) // 8}Q", extra, place + 4))
            values = [next(wide, value) if value == _IN_EXTRA else value for value in values]
        place += 4 + count
    return values[0], values[1], values[2]


def _data_offset(descriptor: int, offset: int, raw_name: bytes) -> int | None:
    """Where a member's bytes begin, or None where its local header does not fit the directory."""
    header = os.pread(descriptor, _LOCAL.size + len(raw_name), offset)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
        return None
    _, name_length, extra_length = _LOCAL.unpack_from(header)
    if header[_LOCAL.size :] != raw_name or name_length != len(raw_name):
        return None
    return offset + _LOCAL.size + name_length + extra_length


def _problem(flags: int, method: int, kind: int) -> str | None:
    if kind == stat.S_IFLNK:
        return LINK
    if kind not in (0, stat.S_IFREG):
        return DEVICE
    if flags & _FLAG_ENCRYPTED:
        return ENCRYPTED
    return None if method in _METHODS else UNKNOWN_COMPRESSION
