"""`cuecheck compare`: what differs between audits of the same pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from service.commands.connection import connect
from service.commands.waiting import await_end
from service.console import out, table


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(rich_help_panel="Ask the service")(compare)


def compare(
    context: typer.Context,
    audit: Annotated[str, typer.Argument(help="Id of an audit that is done.")],
    baseline: Annotated[str, typer.Argument(help="Id of the audit it is compared with.")],
    others: Annotated[
        list[str] | None, typer.Argument(help="Ids of further ones: with them, effective robustness of all.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for comparison.json, .html and .md.")] = Path(),
) -> None:
    """Compare two classifiers on the same pictures, picture by picture, and save what differs.

    Both must have been audited with the same bank, data set and parameters. Interrupting ends the waiting, not the
    comparison.
    """
    from jobs.comparison_page import comparison_html, comparison_markdown, rows_of_means

    with connect(context) as client:
        found = client.compare(audit, baseline, others or (), partial(await_end, client))
    out.print()
    out.print(Text(found.answer, style="bold"))
    head, rows = rows_of_means(found)
    shown = table(*head)
    for row in rows:
        shown.add_row(*map(Text, row))
    out.print(shown)
    for note in found.notes:
        out.print(Text(note, style="yellow"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").write_bytes(found.to_json())
    (folder / "comparison.html").write_text(comparison_html(found), encoding="utf-8")
    (folder / "comparison.md").write_text(comparison_markdown(found), encoding="utf-8")
    out.print(f"\ncomparison: {(folder / 'comparison.html').resolve()}", soft_wrap=True)
