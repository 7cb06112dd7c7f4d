"""`cuecheck demo`: everything once, on a stack of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.stack import terminated_as_interrupted


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(rich_help_panel="Run the service")(demo)


def demo(
    bank: Annotated[str, typer.Option(help="Feature bank.")] = "planted",
    data: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Zip of class folders; planted pictures if left out."),
    ] = None,
    classifier: Annotated[
        str | None, typer.Option(help="Shipped classifier, or an ONNX file; one that goes with the bank if left out.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for overlays and report.")] = Path("build/demo"),
) -> None:
    """Show it all: masks of a few pictures and one audit, over HTTP; nothing is left running."""
    from service.demo import run

    with terminated_as_interrupted():
        run(bank, data, classifier, folder)
