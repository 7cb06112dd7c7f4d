"""`cuecheck bank`: the feature banks of the service."""

from __future__ import annotations

from typing import Annotated

import typer

from service.commands import published
from service.commands.connection import connect
from service.commands.discover import discover
from service.commands.export_masks import export_masks
from service.console import lines, out, table

app = typer.Typer(help="Feature banks: list, show, discover, import.", no_args_is_help=True)
app.command()(discover)
app.command()(export_masks)
published.register(app)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List all feature banks."""
    with connect(context) as client:
        found = client.banks()
    rows = table("name", "classes", "features", "licence", "title")
    for bank in found.banks:
        name = f"{bank.name} (default)" if bank.name == found.default else bank.name
        if bank.problem is not None:
            rows.add_row(name, "", "", "", f"[red]cannot be used:[/] {bank.problem}")
        else:
            rows.add_row(name, str(bank.classes), str(bank.features), bank.licence or "", bank.title or "")
    out.print(rows)


@app.command()
def show(
    context: typer.Context,
    bank: Annotated[str, typer.Argument(help="Name or digest of the bank.")],
    class_name: Annotated[
        str | None, typer.Option("--class", "-c", help="List the features of this class instead.")
    ] = None,
) -> None:
    """Show one bank, or the labelled features of one of its classes."""
    with connect(context) as client:
        if class_name is not None:
            found = client.bank_features(bank, class_name)
            rows = table("feature", "rank", "label", "kind", "importance", "valid from")
            for feature in found.features:
                rows.add_row(
                    str(feature.feature),
                    str(feature.rank),
                    feature.label,
                    feature.kind.replace("_", " "),
                    f"{feature.importance:.3f}",
                    f"{feature.valid_from:.3f}",
                )
            out.print(rows)
            return
        details = client.bank(bank)
        classes = list(client.bank_classes(bank))
    lines(
        details.title or details.name,
        [
            ("name", details.name),
            ("digest", details.digest),
            ("licence", details.licence),
            ("labeller", details.labeller),
            ("backbone", f"{details.architecture}, {details.input_size} px"),
            ("maps", " x ".join(map(str, details.maps))),
        ],
    )
    rows = table("class", "index", "core", "spurious")
    for entry in classes:
        rows.add_row(entry.name, str(entry.index), str(entry.core), str(entry.spurious))
    out.print(rows)
