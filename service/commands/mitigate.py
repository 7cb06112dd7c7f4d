"""`cuecheck mitigate`: make a classifier that relies less on spurious features, and say what that brought and cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from service.commands.connection import connect
from service.commands.subjects import Classifier, ClassMap, Spec, asked, classifier_id, dataset_id, pairs
from service.commands.waiting import Wait, await_end
from service.console import out, table

if TYPE_CHECKING:
    from jobs.mitigation_report import MitigationReport

STYLES = {"lower": "green", "higher": "red", "not_shown": "yellow"}


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(rich_help_panel="Ask the service")(mitigate)


def mitigate(
    context: typer.Context,
    classifier: Classifier,
    dataset: Annotated[str, typer.Argument(help="Pictures to fit on: an archive, or the id of an uploaded one.")],
    method: Annotated[str, typer.Option(help="spufix or head-refit.")],
    spec: Spec = None,
    bank: Annotated[str | None, typer.Option(help="Feature bank; the service's default if left out.")] = None,
    held_out: Annotated[
        str | None, typer.Option(help="Pictures to judge by, file or id; if left out the pictures are split.")
    ] = None,
    fit_share: Annotated[float | None, typer.Option(help="Share of each class to fit on, where split.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", "-c", help="Only this class of the bank; repeatable.")
    ] = None,
    class_map: ClassMap = None,
    lowest: Annotated[int | None, typer.Option(help="head-refit: pictures of each class.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="head-refit: penalty on the change.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split and the audits.")] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and the changed file.")] = Path(),
    wait: Wait = True,
) -> None:
    """Change a classifier's last linear layer, or what follows it, so that spurious features count less.

    The changed classifier is added to the service, audited beside the old one on pictures that nothing was fitted on,
    and fetched with both reports. Exit code 0 says that this was done, whatever it brought; 1 that it failed.
    """
    from jobs.mitigation_request import MitigationRequest

    with connect(context) as client:
        fields = {
            "classifier": classifier_id(client, classifier, spec),
            "dataset": dataset_id(client, dataset),
            "method": method,
            "bank": bank or client.banks().default,
            "held_out": held_out and dataset_id(client, held_out),
            "fit_share": fit_share,
            "classes": classes or None,
            "class_map": pairs(class_map, "--map"),
            "lowest": lowest,
            "weight_decay": weight_decay,
            "seed": seed,
        }
        job = client.submit_mitigation(asked(MitigationRequest, fields))
        await_end(client, job, wait)
        report = client.mitigation_report(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("mitigation.json", "mitigation.html", "mitigation.md", report.patched, "patched.spec.json"):
            client.download_mitigation(job.id, name, folder / name)
    _print(report)
    out.print(f"\nreport: {(folder / 'mitigation.html').resolve()}", soft_wrap=True)
    out.print(f"changed classifier: {(folder / report.patched).resolve()}", soft_wrap=True)


def _print(report: MitigationReport) -> None:
    from jobs.mitigation_page import CLASS_HEAD, HEAD, rows_of_classes, rows_of_means

    out.print()
    out.print(Text(report.answer, style=f"bold {STYLES[report.outcome]}"))
    for head, rows in ((HEAD, rows_of_means(report)), (CLASS_HEAD, rows_of_classes(report))):
        shown = table(*head)
        for row in rows:
            shown.add_row(*map(Text, row))
        out.print()
        out.print(shown)
