"""`cuecheck bank rethreshold, rename, merge, diff, versions`: banks made of banks, and what they differ in.

They ask the service, as `bank show` does: the banks of a cluster lie where the service runs, not where people sit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.text import Text

from service.commands.connection import connect
from service.console import lines, out, table

if TYPE_CHECKING:
    from models.bank_diff import BankDiff, RowDiff
    from service.client import Client
    from service.schemas import BankSummary

Reference = Annotated[str, typer.Argument(help="NAME (its latest version), NAME@VERSION or digest of the bank.")]
Other = Annotated[str, typer.Argument(help="The other bank, named alike.")]
As = Annotated[str, typer.Option("--as", help="What to call the result.")]
Title = Annotated[str | None, typer.Option(help="Its title; as it is if left out.")]
Of = Annotated[
    int | None,
    typer.Option(min=1, help="Answers the threshold is chosen for: other rows need the same share of theirs."),
]
LISTED = 50
"""Rows of a difference that are printed; `--json` has all."""


def register(app: typer.Typer) -> None:
    """Add the commands to those of `cuecheck bank`."""
    for command in (rethreshold, rename, merge, diff, versions):
        app.command()(command)


def rethreshold(
    context: typer.Context,
    bank: Reference,
    threshold: Annotated[int, typer.Argument(min=1, help="Votes against the main object that make a row spurious.")],
    of: Of = None,
    name: Annotated[
        str | None, typer.Option("--as", help="What to call it; the bank's next version if left out.")
    ] = None,
) -> None:
    """Decide the labels of a bank anew by another threshold, from the answers it has, and publish them."""
    with connect(context) as client:
        before = client.bank(bank).digest
        _report(client, before, client.rethreshold_bank(bank, threshold, of, name))


def rename(context: typer.Context, bank: Reference, name: As, title: Title = None) -> None:
    """Publish a bank under another name; the bank itself stays."""
    with connect(context) as client:
        _published(client.rename_bank(bank, name, title))


def merge(
    context: typer.Context,
    bank: Reference,
    other: Other,
    name: As,
    title: Title = None,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="For rows that both have; that of the banks if left out.")
    ] = None,
    of: Of = None,
) -> None:
    """Publish the rows of two banks of the same network as one; answers of different annotators are added."""
    with connect(context) as client:
        before = client.bank(bank).digest
        _report(client, before, client.merge_banks(bank, other, name, title, threshold, of))


def diff(
    context: typer.Context,
    bank: Reference,
    other: Other,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for other programs.")] = False,
) -> None:
    """Show what is different in another bank: rows, labels, votes, ranges of validity, statistics."""
    with connect(context) as client:
        found = client.diff_banks(bank, other)
    if as_json:
        out.print_json(found.model_dump_json())
    else:
        _show(found)


def versions(context: typer.Context, bank: Reference) -> None:
    """List all versions of a bank; each can be named as NAME@VERSION or by its digest."""
    with connect(context) as client:
        found = client.bank_versions(bank)
    rows = table("version", "digest", "published", "title")
    for one in found.versions:
        refused = Text.assemble(("cannot be used:", "red"), f" {one.problem}")
        title = Text(one.title or "") if one.problem is None else refused
        rows.add_row(f"{found.name}@{one.version}", one.digest or "", one.published or "", title)
    out.print(rows)


def _report(client: Client, before: str | None, bank: BankSummary) -> None:
    """Say what was published, and what is different in it from the bank of the digest `before`."""
    _published(bank)
    _show(client.diff_banks(str(before), str(bank.digest)))


def _published(bank: BankSummary) -> None:
    lines(f"{bank.name}@{bank.version}", [("digest", bank.digest), ("rows", bank.features), ("licence", bank.licence)])


def _show(found: BankDiff) -> None:
    if not found.same_network:
        out.print("Their networks are not the same: no feature of the one is a feature of the other.")
    for change in found.fields:
        out.print(f"{change.aspect}: {escape(_short(change.before))} -> {escape(_short(change.after))}")
    counts = ", ".join(f"{number:,} {what}" for what, number in found.counts.items()) or "no row differs"
    out.print(f"{found.same:,} rows alike; {counts}")
    rows = table("class", "feature", "", "label", "changes")
    for row in found.rows[:LISTED]:
        rows.add_row(row.class_name, str(row.feature_index), row.what, row.label, _changes(row))
    if found.rows:
        out.print(rows)
    if len(found.rows) > LISTED:
        out.print(f"and {len(found.rows) - LISTED:,} more; --json lists all")


def _changes(row: RowDiff) -> str:
    return "; ".join(f"{one.aspect} {_short(one.before)} -> {_short(one.after)}" for one in row.changes)


def _short(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {number}" for name, number in value.items())
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
