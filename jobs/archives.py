"""Uploaded archives, walked member by member with limits and never unpacked onto the disk.

A walker (`jobs/zip_walk.py`, `jobs/tar_walk.py`) says where each member's bytes lie and what stands against reading
them; here the formats are told apart, compressed tars made plain, and the limits and names checked. A further format
is one walker and one line in `WALKERS`.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from jobs.archive_member import DAMAGED, DEFLATE, STORED, Member
from jobs.errors import Invalid, LimitExceeded
from jobs.settings import MIB, Settings
from jobs.tar_walk import is_tar, walk_tar
from jobs.zip_walk import is_zip, walk_zip

UNSAFE_NAME, TOO_LARGE, RATIO, DUPLICATE = "unsafe_name", "too_large", "compression_ratio", "duplicate_name"
WALKERS: dict[str, Callable[[Path], Iterator[Member]]] = {"zip": walk_zip, "tar": walk_tar}
XZ_MEMORY_BYTES = 256 * MIB  # dictionary sizes in use need up to 65 MiB; a forged header may ask for 4 GiB
RATIO_FREE_BYTES = MIB  # blank pictures pack a thousandfold: ratios count from here on


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold; see the settings of the same names."""

    entries: int
    total_bytes: int
    member_bytes: int
    ratio: float

    @classmethod
    def from_settings(cls, settings: Settings) -> ArchiveLimits:
        """The limits that the settings name."""
        return cls(
            entries=settings.max_archive_entries,
            total_bytes=settings.max_archive_bytes,
            member_bytes=settings.max_member_bytes,
            ratio=settings.max_archive_ratio,
        )


def detect_format(path: Path) -> str:
    """`zip`, `tar`, `tar.gz`, `tar.bz2` or `tar.xz`, by the bytes and not by the name.

    Raises:
        Invalid: None of these.
    """
    with path.open("rb") as file:
        start = file.read(1024)
    for magic, name in ((b"\x1f\x8b", "tar.gz"), (b"BZh", "tar.bz2"), (b"\xfd7zXZ\x00", "tar.xz")):
        if start.startswith(magic):
            return name
    if is_tar(start):
        return "tar"
    if is_zip(path):
        return "zip"
    raise Invalid(
        "The file is neither a zip nor a tar archive.",
        field="file",
        remedy="Send a zip, tar, tar.gz, tar.bz2 or tar.xz with one folder of pictures per class.",
    )


def unpack_tar(path: Path, kind: str, target: Path, limits: ArchiveLimits) -> None:
    """Write the plain tar inside a compressed one, in pieces.

    Raises:
        Invalid: The compressed stream is damaged, or holds no tar.
        LimitExceeded: It inflates to too much, in all or per byte.
    """
    most = min(limits.total_bytes, int(path.stat().st_size * limits.ratio) + RATIO_FREE_BYTES)
    written = 0
    try:
        with path.open("rb") as packed, target.open("wb") as plain:
            for piece in _inflated(packed, kind):
                if written == 0 and not is_tar(piece):
                    raise Invalid(f"The {kind} file holds no tar archive.", field="file")
                written += len(piece)
                if written > most:
                    raise LimitExceeded(
                        f"The {kind} file inflates to more than {most:,} bytes.",
                        field="file",
                        remedy="Send fewer pictures at a time, or have CUECHECK_MAX_ARCHIVE_BYTES raised.",
                    )
                plain.write(piece)
    except (zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, ValueError) as error:
        raise Invalid(f"The {kind} file is damaged: {error}", field="file") from error
    if written == 0:
        raise Invalid(f"The {kind} file is empty.", field="file")


def walk(path: Path, kind: str, limits: ArchiveLimits) -> Iterator[Member]:
    """Every file of a zip or plain tar, in order; what must not be read carries its `problem`.

    Raises:
        Invalid: The archive is damaged.
        LimitExceeded: Too many members or bytes.
    """
    most = min(limits.total_bytes, int(path.stat().st_size * limits.ratio) + RATIO_FREE_BYTES)
    total = 0
    for number, member in enumerate(WALKERS[kind](path), start=1):
        if number > limits.entries:
            raise LimitExceeded(f"The archive holds more than {limits.entries:,} members.", field="file")
        total += member.size
        if total > most:
            raise LimitExceeded(
                f"The members of the archive inflate to more than {most:,} bytes.",
                field="file",
                remedy="Send fewer pictures at a time, or have CUECHECK_MAX_ARCHIVE_BYTES raised.",
            )
        problem = member.problem or _problem(member, limits)
        yield member if problem == member.problem else replace(member, problem=problem)


def read_member(file: IO[bytes], member: Member) -> bytes:
    """The bytes of one member, never more than its declared size.

    Args:
        file: The archive, seekable.
        member: One without a problem.

    Raises:
        Invalid: What is there does not fit the declared size or checksum.
    """
    file.seek(member.offset)
    data = file.read(member.length)
    if member.method == DEFLATE:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        except zlib.error as error:
            raise Invalid(f"{member.name!r} is damaged: {error}") from error
    if len(data) != member.size:
        raise Invalid(f"{member.name!r} holds {len(data)} bytes where the archive declares {member.size}.")
    if member.crc32 is not None and zlib.crc32(data) != member.crc32:
        raise Invalid(f"{member.name!r} does not fit its checksum.")
    return data


def copy_member(file: IO[bytes], member: Member, target: IO[bytes]) -> None:
    """Write the bytes of one member, in pieces; as `read_member` for those that are too large to be held.

    Raises:
        Invalid: What is there does not fit the declared size or checksum.
    """
    file.seek(member.offset)
    left, written, checksum = member.length, 0, 0
    inflate = zlib.decompressobj(-zlib.MAX_WBITS) if member.method == DEFLATE else None
    packed = b""
    try:
        while written <= member.size and (packed or left):
            if not packed:
                packed = file.read(min(MIB, left))
                left -= len(packed)
                if not packed:
                    break
            piece = inflate.decompress(packed, MIB) if inflate else packed
            packed = inflate.unconsumed_tail if inflate else b""
            written += len(piece)
            checksum = zlib.crc32(piece, checksum)
            target.write(piece)
    except zlib.error as error:
        raise Invalid(f"{member.name!r} is damaged: {error}", field="file") from error
    if written != member.size:
        raise Invalid(f"{member.name!r} does not hold the {member.size:,} bytes that it declares.", field="file")
    if member.crc32 is not None and checksum != member.crc32:
        raise Invalid(f"{member.name!r} does not fit its checksum.", field="file")


class Duplicates:
    """Finds names that occur twice without holding all names: 8 bytes a name, collected in a first pass."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._repeated: set[int] | None = None
        self._seen: set[str] = set()

    def collect(self, name: str) -> None:
        """Take note of a name in the first pass."""
        self._hashes.append(_hash(name))

    def is_repeat(self, name: str) -> bool:
        """In the second pass: whether this name came before."""
        if self._repeated is None:
            values, counts = np.unique(np.frombuffer(self._hashes, dtype=np.uint64), return_counts=True)
            self._repeated = set(values[counts > 1].tolist())
        if _hash(name) not in self._repeated:
            return False
        if name in self._seen:
            return True
        self._seen.add(name)
        return False


def _hash(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _problem(member: Member, limits: ArchiveLimits) -> str | None:
    parts = member.parts
    if ".." in parts or parts[0] == "" or parts[0].endswith(":") or "\x00" in member.name:
        return UNSAFE_NAME
    if member.size > limits.member_bytes:
        return TOO_LARGE
    if member.size > RATIO_FREE_BYTES and member.size > limits.ratio * max(1, member.length):
        return RATIO
    # Deflate adds at most five bytes per 16 KiB to what cannot be packed; more is padding to be read for nothing.
    longest = member.size if member.method == STORED else member.size + member.size // 1024 + 1024
    return DAMAGED if member.length > longest else None


def _inflated(packed: IO[bytes], kind: str) -> Iterator[bytes]:
    """Pieces of at most 1 MiB of a compressed stream."""
    if kind == "tar.gz":
        with gzip.GzipFile(fileobj=packed) as file:
            while piece := file.read(MIB):
                yield piece
        return
    if kind == "tar.bz2":
        with bz2.BZ2File(packed) as file:
            while piece := file.read(MIB):
                yield piece
        return
    # lzma.LZMAFile cannot limit its memory, so the streams of the file are strung together here.
    data = packed.read(io.DEFAULT_BUFFER_SIZE)
    while data:
        stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)
        while not stream.eof:
            yield stream.decompress(data, MIB)
            data = packed.read(io.DEFAULT_BUFFER_SIZE) if stream.needs_input else b""
            if stream.needs_input and not data and not stream.eof:
                raise EOFError("it ends within the compressed stream")
        data = stream.unused_data.lstrip(b"\x00") or packed.read(io.DEFAULT_BUFFER_SIZE)
