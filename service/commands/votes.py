"""`cuecheck annotate votes`: the answers of an annotation as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from service.commands.connection import connect
from service.console import err, out

app = typer.Typer(help="Answers as CSV in Salient ImageNet's columns, or as JSON.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of the annotation.")]


@app.command("export")
def export_votes(
    context: typer.Context, annotation: Id, file: Annotated[Path, typer.Argument(help="FILE.csv or FILE.json.")]
) -> None:
    """Write all answers of the first round into a file; its ending says which kind."""
    kind = _kind(file)
    with connect(context) as client:
        content = client.annotations.export_votes(annotation, kind)
    file.write_bytes(content)
    out.print(f"written to {file}", soft_wrap=True)


@app.command("import")
def import_votes(
    context: typer.Context,
    annotation: Id,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="FILE.csv or FILE.json.")],
) -> None:
    """Take in the answers of a file: all of them, or none where one is wrong."""
    kind = _kind(file)
    with connect(context) as client:
        found = client.annotations.import_votes(annotation, file.read_bytes(), kind)
    for warning in found.warnings:
        err.print(f"[yellow]warning:[/] {escape(warning)}")
    out.print(f"{found.answers:,} answers of {found.annotators} people on {found.panels:,} panels, {found.new:,} new")


def _kind(file: Path) -> Literal["csv", "json"]:
    match file.suffix.lower():
        case ".csv":
            return "csv"
        case ".json":
            return "json"
        case _:
            raise typer.BadParameter(f"{file.name} ends neither in .csv nor in .json", param_hint="FILE")
