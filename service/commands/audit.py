"""`cuecheck audit`: audit a classifier on a data set, and say what was found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from jobs.records import JobRecord, JobState
from service.commands.classifiers import read_spec, send_classifier
from service.commands.connection import connect
from service.commands.datasets import send_dataset
from service.console import ExitCode, complain, err, job_progress, out

if TYPE_CHECKING:
    from service.client import Client

IDENTIFIER = re.compile(r"[0-9a-f]{64}")


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(rich_help_panel="Ask the service")(audit)


def audit(
    context: typer.Context,
    classifier: Annotated[str, typer.Argument(help="ONNX or safetensors file, or the id of an uploaded one.")],
    dataset: Annotated[str, typer.Argument(help="Zip or tar of class folders, or the id of an uploaded one.")],
    spec: Annotated[
        Path | None, typer.Option(help="JSON declaration of the classifier; FILE.spec.json if left out.")
    ] = None,
    bank: Annotated[str | None, typer.Option(help="Feature bank; the service's default if left out.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", "-c", help="Audit only this class of the bank; repeatable.")
    ] = None,
    class_map: Annotated[
        list[str] | None, typer.Option("--map", help="THEIRS=BANKS, where a class has another name; repeatable.")
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Strength of the noise.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noise.")] = None,
    max_pictures: Annotated[int | None, typer.Option(help="At most this many, spread over the data set.")] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.html and report.json.")] = Path(),
    wait: Annotated[bool, typer.Option(help="Wait for the end; without it the job's id is printed.")] = True,
) -> None:
    """Upload what is not uploaded yet, audit the classifier on the data set, and save the report.

    Exit code 0 says that the audit was done, whatever it found; 1 that it failed or was cancelled. Interrupting ends
    the waiting, not the audit.
    """
    with connect(context) as client:
        request: dict[str, Any] = {
            "classifier": _classifier(client, classifier, spec),
            "dataset": dataset if IDENTIFIER.fullmatch(dataset) else send_dataset(client, _file(dataset)).id,
            "bank": bank or client.banks().default,
            "classes": classes or None,
            "class_map": dict(_pair(text) for text in class_map or []) or None,
            "sigma": sigma,
            "seed": seed,
            "max_pictures": max_pictures,
        }
        job = submit(client, {name: value for name, value in request.items() if value is not None})
        if not wait:
            out.print(job.id)
            return
        finish(client, job, folder)


def submit(client: Client, request: dict[str, Any]) -> JobRecord:
    """Queue an audit; parameters out of range are wrong usage."""
    from jobs.audit import AuditRequest

    try:
        return client.submit_audit(AuditRequest.model_validate(request))
    except ValidationError as error:
        raise typer.BadParameter("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())) from error


def finish(client: Client, job: JobRecord, folder: Path) -> None:
    """Follow an audit to its end with a progress bar, print what it found and save its report."""
    from service.headline import print_headline

    try:
        with job_progress() as progress:
            for latest in client.follow(job.id):
                progress.show(latest)
    except KeyboardInterrupt:
        err.print(f"The audit goes on: cuecheck jobs follow {job.id}, or jobs cancel.")
        raise
    if latest.state is not JobState.SUCCEEDED:
        complain(f"The audit {job.id} {'was cancelled' if latest.state is JobState.CANCELLED else 'failed'}.")
        if latest.message:
            err.print(latest.message, markup=False)
        raise typer.Exit(ExitCode.FAILED)
    print_headline(client.report(job.id))
    folder.mkdir(parents=True, exist_ok=True)
    for name, media_type in (("report.json", "application/json"), ("report.html", "text/html")):
        (folder / name).write_bytes(client.report_bytes(job.id, media_type))
    out.print(f"\nreport: {(folder / 'report.html').resolve()}", soft_wrap=True)


def _classifier(client: Client, given: str, spec: Path | None) -> str:
    if IDENTIFIER.fullmatch(given):
        return given
    file = _file(given)
    return send_classifier(client, file, read_spec(spec or file.with_suffix(".spec.json"))).id


def _file(given: str) -> Path:
    path = Path(given)
    if not path.is_file():
        raise typer.BadParameter(f"{given!r} is neither a file nor an id of 64 hexadecimal digits")
    return path


def _pair(text: str) -> tuple[str, str]:
    theirs, sign, banks = text.partition("=")
    if not sign or not theirs or not banks:
        raise typer.BadParameter(f"{text!r} is not THEIRS=BANKS", param_hint="--map")
    return theirs, banks
