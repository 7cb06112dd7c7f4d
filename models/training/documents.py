"""Documents whose tables are written by what measured them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from models.training.artefacts import write_json
from models.training.discovery_recall import Share

BEGIN = "<!-- tables: begin; written by the command above -->"
END = "<!-- tables: end -->"


def write_document(document: Path, tables: str, figures: dict[str, Any]) -> None:
    """Replace what is between the marks of a Markdown file by the tables, and write all figures as JSON beside it.

    Raises ValueError where the marks are missing.
    """
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no place for the tables: it lacks the lines {BEGIN!r} and {END!r}")
    document.write_text(f"{before}{begin}\n\n{tables}\n{end}{after}", encoding="utf-8")
    write_json(document.with_suffix(".json"), figures)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def share(found: Share) -> str:
    """Found of how many, with the interval: "7/10 (.40-.89)"; an expectation without."""
    if found.interval is None:
        return f"{found.count:.1f}/{found.total}"
    return f"{found.count:.0f}/{found.total} ({decimal(found.interval.low)}-{decimal(found.interval.high)})"


def decimal(value: float) -> str:
    """Two places, without the leading zero."""
    return f"{value:.2f}".removeprefix("0")
