"""The part of a file that a client asks for, by its Range header (RFC 9110, 14)."""

from __future__ import annotations

import re

from service.problems import Problem

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def requested_range(header: str | None, size: int) -> tuple[int, int]:
    """First byte and the one after the last.

    Args:
        header: Value of the Range header. Without one, and for those a server may ignore (other units, several
            ranges, a last byte before the first), it is the whole file.
        size: Of the file, bytes.

    Raises:
        Problem: `range`, if it begins after the end.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or not any(match.groups()):
        return 0, size
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return 0, size
    if start >= size or start >= stop:
        raise Problem(
            "range",
            f"The file has {size:,} bytes; {header} lies outside.",
            field="Range",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, stop
