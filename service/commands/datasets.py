"""`cuecheck dataset`: the data sets that audits use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.layouts import Layout
from service.commands.connection import connect
from service.console import byte_progress, err, lines, out, table

if TYPE_CHECKING:
    from jobs.datasets import DatasetRecord
    from service.client import Client

app = typer.Typer(help="Data sets: upload, list, show, delete.", no_args_is_help=True)
Identifier = Annotated[str, typer.Argument(help="Id of the data set, 64 hexadecimal digits.")]


def send_dataset(client: Client, archive: Path, name: str | None = None, layout: Layout | None = None) -> DatasetRecord:
    """Upload an archive, with a progress bar."""
    with byte_progress() as progress, progress.open(archive, "rb", description=f"sending {archive.name}") as file:
        return client.upload_dataset(file, name or archive.name, layout=layout)


@app.command()
def upload(
    context: typer.Context,
    archive: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Zip or tar of class folders.")],
    name: Annotated[str | None, typer.Option(help="What to call it; the file's name if left out.")] = None,
    layout: Annotated[
        Layout | None, typer.Option(help="How the names of its folders are read; recognised if left out.")
    ] = None,
) -> None:
    """Upload an archive; the same bytes give the same data set. Its id is printed on standard output."""
    with connect(context) as client:
        record = send_dataset(client, archive, name, layout)
    err.print(f"{record.pictures:,} pictures of {len(record.classes):,} classes ({record.layout})")
    for warning in record.warnings:
        err.print(f"[yellow]warning:[/] {warning}")
    for reason, count in record.skipped_counts.items():
        err.print(f"[yellow]left out:[/] {count:,} {reason}")
    out.print(record.id)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List all data sets."""
    rows = table("id", "name", "pictures", "classes", "format", "uploaded")
    with connect(context) as client:
        for record in client.datasets():
            rows.add_row(
                record.id,
                record.name,
                f"{record.pictures:,}",
                f"{len(record.classes):,}",
                record.format,
                f"{record.created:%Y-%m-%d %H:%M}",
            )
    out.print(rows)


@app.command()
def show(context: typer.Context, dataset: Identifier) -> None:
    """Show one data set."""
    with connect(context) as client:
        record = client.dataset(dataset)
    lines(
        record.name,
        [
            ("id", record.id),
            ("pictures", f"{record.pictures:,}"),
            ("classes", ", ".join(f"{c} ({n:,})" for c, n in zip(record.classes, record.class_pictures, strict=True))),
            ("format", f"{record.format}, {record.bytes:,} bytes"),
            ("layout", record.layout + (f", version {record.version}" if record.version else "")),
            ("left out", ", ".join(f"{n:,} {reason}" for reason, n in record.skipped_counts.items()) or None),
            ("uploaded", f"{record.created:%Y-%m-%d %H:%M} UTC"),
        ],
    )


@app.command()
def delete(context: typer.Context, dataset: Identifier) -> None:
    """Delete a data set; refused while an audit uses it."""
    with connect(context) as client:
        client.delete_dataset(dataset)
    out.print(f"deleted {dataset}")
