"""`cuecheck audit`: audit a classifier on a data set, and say what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.records import JobRecord
from service.commands.connection import connect
from service.commands.gate import decide, read
from service.commands.subjects import Classifier, ClassMap, Dataset, Spec, asked, classifier_id, dataset_id, pairs
from service.commands.waiting import Wait, await_end
from service.console import complain, out

if TYPE_CHECKING:
    from service.client import Client


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(rich_help_panel="Ask the service")(audit)


def audit(
    context: typer.Context,
    classifier: Classifier,
    dataset: Dataset,
    spec: Spec = None,
    bank: Annotated[str | None, typer.Option(help="Feature bank; the service's default if left out.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", "-c", help="Audit only this class of the bank; repeatable.")
    ] = None,
    class_map: ClassMap = None,
    sigma: Annotated[float | None, typer.Option(help="Strength of the noise.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noise.")] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="Measure this, NAME or NAME={JSON}; repeatable. `all`: whatever needs no parameters."),
    ] = None,
    max_pictures: Annotated[int | None, typer.Option(help="At most this many, spread over the data set.")] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.html and report.json.")] = Path(),
    wait: Wait = True,
    gate: Annotated[
        Path | None,
        typer.Option(help="Rules to hold the audit against, see docs/gate.md; exit code 0 pass, 1 fail, 2 undecided."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="With --gate: audit to compare with, its id or its saved report.json.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="MLflow server to log the audit to; the audit is done even if it is away.")
    ] = None,
    experiment: Annotated[str, typer.Option(help="With --mlflow: name of the experiment.")] = "cuecheck",
) -> None:
    """Upload what is not uploaded yet, audit the classifier on the data set, and save the report.

    Exit code 0 says that the audit was done, whatever it found; 1 that it failed or was cancelled. With --gate these
    are verdicts, see `cuecheck gate --help`. Interrupting ends the waiting, not the audit.
    """
    if gate is not None and not wait:
        raise typer.BadParameter("there is no verdict without waiting for it", param_hint="--gate")
    if baseline is not None and gate is None:
        raise typer.BadParameter("only rules compare with it: name them by --gate", param_hint="--baseline")
    if mlflow is not None and not wait:
        raise typer.BadParameter("there is nothing to log without waiting for it", param_hint="--mlflow")
    measurements = _measurements(measure)
    wanted = None if gate is None else read(gate, baseline, measurements or _usual())
    with connect(context) as client:
        job = submit(
            client,
            {
                "classifier": classifier_id(client, classifier, spec),
                "dataset": dataset_id(client, dataset),
                "bank": bank or client.banks().default,
                "classes": classes or None,
                "class_map": pairs(class_map, "--map"),
                "measurements": measurements,
                "sigma": sigma,
                "seed": seed,
                "max_pictures": max_pictures,
            },
        )
        finish(client, job, folder, wait)
        if mlflow is not None:
            _log(client, job.id, mlflow, experiment)
        if wanted is not None:
            decide(client, job.id, wanted, folder)


def _log(client: Client, audit: str, uri: str, experiment: str) -> None:
    """Log to MLflow; what goes wrong there is said, and takes nothing from the audit."""
    from jobs.errors import JobsError
    from service.commands.mlflow import send
    from service.mlflow_run import Destination

    try:
        send(client, audit, Destination(uri, experiment))
    except JobsError as error:
        again = f"cuecheck mlflow log {audit} --tracking-uri {uri} --experiment {experiment}"
        complain(f"The audit is done, but not logged. {error.message}", None, f"{error.remedy or ''} Then: {again}")


def _measurements(chosen: list[str] | None) -> dict[str, dict[str, Any]] | None:
    """From `NAME` and `NAME={...}`; None for the usual ones."""
    from jobs.measurements import measurements

    found: dict[str, dict[str, Any]] = {}
    for text in chosen or ():
        name, _, parameters = text.partition("=")
        if text == "all":
            found = {known: found.get(known, {}) for known, own in measurements().items() if own.complete} | found
            continue
        try:
            found[name] = json.loads(parameters or "{}")
        except ValueError as error:
            raise typer.BadParameter(f"{parameters!r} is not JSON: {error}", param_hint="--measure") from error
    return found or None


def _usual() -> list[str]:
    """What is measured where nothing is chosen."""
    from jobs.measurements import measurements

    return [name for name, own in measurements().items() if own.default]


def submit(client: Client, fields: dict[str, Any]) -> JobRecord:
    """Queue an audit; parameters out of range are wrong usage."""
    from jobs.audit_request import AuditRequest

    return client.submit_audit(asked(AuditRequest, fields))


def finish(client: Client, job: JobRecord, folder: Path, wait: bool = True) -> None:
    """Follow an audit to its end with a progress bar, print what it found and save its report.

    wait: as for `await_end`.
    """
    from service.headline import print_headline

    await_end(client, job, wait)
    print_headline(client.report(job.id))
    folder.mkdir(parents=True, exist_ok=True)
    for name, media_type in (("report.json", "application/json"), ("report.html", "text/html")):
        (folder / name).write_bytes(client.report_bytes(job.id, media_type))
    out.print(f"\nreport: {(folder / 'report.html').resolve()}", soft_wrap=True, markup=False)
