"""`cuecheck bank`: the feature banks of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from service.commands import bank_edits, bank_files, published
from service.commands.connection import connect
from service.commands.discover import discover
from service.commands.export_masks import export_masks
from service.console import lines, out, table

if TYPE_CHECKING:
    from models.bank_card import Provenance

app = typer.Typer(help="Feature banks: list, show, compare, edit, export and import, discover.", no_args_is_help=True)
app.command()(discover)
app.command()(export_masks)
published.register(app)
bank_edits.register(app)
bank_files.register(app)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List all feature banks."""
    with connect(context) as client:
        found = client.banks()
    rows = table("name", "version", "classes", "features", "licence", "title")
    for bank in found.banks:
        name = f"{bank.name} (default)" if bank.name == found.default else bank.name
        if bank.problem is not None:
            rows.add_row(name, "", "", "", "", Text.assemble(("cannot be used:", "red"), f" {bank.problem}"))
        else:
            figures = map(str, (bank.version, bank.classes, bank.features))
            rows.add_row(name, *figures, bank.licence or "", bank.title or "")
    out.print(rows)


@app.command()
def show(
    context: typer.Context,
    bank: Annotated[str, typer.Argument(help="NAME (its latest version), NAME@VERSION or digest of the bank.")],
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
            ("name", f"{details.name}@{details.version}"),
            ("digest", details.digest),
            ("parent", details.parent),
            ("licence", details.licence),
            ("labeller", details.labeller),
            *_provenance(details.provenance),
            ("backbone", f"{details.architecture}, {details.input_size} px"),
            ("maps", " x ".join(map(str, details.maps))),
        ],
    )
    rows = table("class", "index", "core", "spurious")
    for entry in classes:
        rows.add_row(entry.name, str(entry.index), str(entry.core), str(entry.spurious))
    out.print(rows)


def _provenance(found: Provenance) -> list[tuple[str, object]]:
    """Where the labels come from, as far as the card says it."""
    people = f" of {found.annotators:,} people" if found.annotators else ""
    answers = f"{found.answers:,}{people}" if found.answers else None
    threshold = f"{found.threshold} of {found.of}" if found.of else found.threshold
    kappa = f"{found.kappa}, core or not {found.kappa_binary}" if found.kappa is not None else None
    made = f"{found.edit} of {', '.join(found.sources)}" if found.edit else None
    validated = ", ".join(f"{name} {value}" for name, value in (found.validated or {}).items()) or None
    return [
        ("answers", answers),
        ("threshold", threshold),
        ("kappa", kappa),
        ("validated", validated),
        ("made by", made),
        ("draft", found.draft),
        ("data set", found.dataset),
        ("encoder", found.encoder),
        ("published", found.published),
    ]
