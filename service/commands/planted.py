"""`cuecheck planted`: the built-in pictures and classifiers whose truth is known, to try things on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from models.shipped import PLANTED_FAMILY, shipped_classifiers
from service.console import out, picture_progress, table

app = typer.Typer(help="The built-in synthetic data: export pictures, list classifiers.", no_args_is_help=True)


@app.command()
def export(
    archive: Annotated[Path, typer.Argument(help="Zip to write, to be uploaded as a data set.")],
    per_class: Annotated[int, typer.Option(min=1, help="Pictures of each class.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Other seeds give other pictures.")] = 0,
) -> None:
    """Draw pictures into a zip of class folders; the same seed gives the same bytes."""
    from models.planted.archive import write_archive
    from models.planted.scenes import CLASSES

    total = per_class * len(CLASSES)
    with picture_progress("drawing", total) as advance:
        write_archive(archive, per_class, seed, progress=advance)
    out.print(f"{archive}: {total:,} pictures of {len(CLASSES)} classes")


@app.command("list")
def list_all() -> None:
    """List the shipped classifiers with their true reliance on cues, where it was measured by intervention."""
    measured = json.loads((PLANTED_FAMILY / "family.json").read_text(encoding="utf-8"))["members"]
    reliance = {member["name"]: member["reliance"] for member in measured}
    rows = table("name", "true reliance", "file")
    for name, shipped in shipped_classifiers().items():
        rows.add_row(name, f"{reliance[name]:+.3f}" if name in reliance else "", str(shipped.model))
    out.print(rows)
