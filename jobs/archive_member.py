"""One member of an archive: where its bytes lie, and what stands against reading them."""

from __future__ import annotations

from dataclasses import dataclass

STORED, DEFLATE = "stored", "deflate"

LINK, DEVICE, ENCRYPTED = "link", "device", "encrypted"
UNKNOWN_COMPRESSION, DAMAGED, TRUNCATED = "unknown_compression", "damaged", "truncated"


@dataclass(frozen=True)
class Member:
    """A file in an archive; folders are not listed.

    Attributes:
        name: The original name.
        offset: Where its stored bytes begin in the archive.
        length: Number of stored bytes.
        size: Number of bytes after inflating, as declared.
        method: `stored` or `deflate`.
        crc32: Checksum of the inflated bytes; None where the format has none.
        problem: Code of the reason why it must not be read; None where it may.
    """

    name: str
    offset: int
    length: int
    size: int
    method: str = STORED
    crc32: int | None = None
    problem: str | None = None

    @property
    def parts(self) -> list[str]:
        """The name's components; `\\` counts as `/`, as some Windows archivers write it."""
        return self.name.replace("\\", "/").removeprefix("./").split("/")
