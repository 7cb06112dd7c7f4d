"""`cuecheck bank export, import`: a whole bank as one file, out of the service and into it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from service.commands.connection import connect
from service.console import byte_progress, err, lines, out


def register(app: typer.Typer) -> None:
    """Add the commands to those of `cuecheck bank`."""
    app.command("export")(export_bank)
    app.command("import")(import_bank)


def export_bank(
    context: typer.Context,
    bank: Annotated[str, typer.Argument(help="NAME (its latest version), NAME@VERSION or digest of the bank.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; NAME@VERSION.zip here if left out.")
    ] = None,
) -> None:
    """Write a whole bank into one file: labels, weights, pictures, answers. The same bank is the same bytes."""
    folder = (output or Path("here")).parent
    handle, name = tempfile.mkstemp(dir=folder, prefix=".bank-")
    arriving = Path(name)
    try:
        with connect(context) as client, os.fdopen(handle, "wb") as file:
            stated = client.export_bank(bank, file)
            licence = client.bank(bank).licence
        target = output or Path(Path(stated).name)
        arriving.chmod(0o644)
        arriving.replace(target)
    finally:
        arriving.unlink(missing_ok=True)
    err.print(f"licence: {licence}", markup=False)
    out.print(str(target), markup=False)


def import_bank(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What an export gave.")],
    name: Annotated[str | None, typer.Option("--as", help="What to call it here; its own name if left out.")] = None,
) -> None:
    """Give a bank to the service; checked whole before it answers to its name."""
    with (
        connect(context) as client,
        byte_progress() as progress,
        progress.open(file, "rb", description=f"sending {file.name}") as source,
    ):
        bank = client.import_bank(source, name)
    lines(f"{bank.name}@{bank.version}", [("digest", bank.digest), ("rows", bank.features), ("licence", bank.licence)])
