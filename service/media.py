"""Which media type a client wants, by its Accept header."""

from __future__ import annotations

from collections.abc import Sequence

from service.problems import Problem


def best_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """The offered type that the client likes best; the first one where it has no preference.

    Args:
        accept: value of the Accept header, or None.
        offered: media types that can be given, the default first.

    Raises:
        Problem: none of them is accepted.
    """
    wanted = [_parse(part) for part in (accept or "*/*").split(",") if part.strip()]
    best = max(offered, key=lambda media_type: _quality(media_type, wanted))
    if _quality(best, wanted) <= 0:
        raise Problem(
            "not-acceptable",
            f"Accept: {(accept or '')[:100]} leaves nothing that can be given.",
            field="Accept",
            remedy=f"Accept {' or '.join(offered)}.",
        )
    return best


def _parse(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media_range, float(parameter[2:])
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(media_type: str, wanted: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that holds the type (RFC 9110, 12.5.1)."""
    for media_range in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        for wanted_range, quality in wanted:
            if wanted_range == media_range:
                return quality
    return 0.0
