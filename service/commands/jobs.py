"""`cuecheck jobs`: what runs and what has run."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from jobs.records import JobRecord, JobState
from service.commands.connection import connect
from service.console import STATE_STYLES, ExitCode, job_progress, lines, out, table

app = typer.Typer(help="Jobs: list, show, follow, cancel, retry.", no_args_is_help=True)
Identifier = Annotated[str, typer.Argument(help="Id of the job.")]


@app.command("list")
def list_all(context: typer.Context, most: Annotated[int, typer.Option(min=1, help="How many.")] = 20) -> None:
    """List jobs, the newest first."""
    rows = table("id", "kind", "state", "done", "submitted", "message")
    with connect(context) as client:
        for job in islice(client.jobs(), most):
            rows.add_row(
                job.id,
                job.kind,
                Text(job.state.value, STATE_STYLES[job.state]),
                f"{job.done:,} of {'?' if job.total is None else f'{job.total:,}'}",
                f"{job.created:%Y-%m-%d %H:%M}",
                job.message or "",
            )
    out.print(rows)


@app.command()
def show(context: typer.Context, job: Identifier) -> None:
    """Show one job."""
    with connect(context) as client:
        _print(client.job(job))


@app.command()
def follow(context: typer.Context, job: Identifier) -> None:
    """Follow a job to its end; the exit code is 1 if it fails or is cancelled."""
    with connect(context) as client, job_progress() as progress:
        for record in client.follow(job):
            progress.show(record)
    _print(record)
    if record.state is not JobState.SUCCEEDED:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def cancel(context: typer.Context, job: Identifier) -> None:
    """Cancel a job; what is done of it is kept for a retry."""
    with connect(context) as client:
        _print(client.cancel(job))


@app.command()
def retry(context: typer.Context, job: Identifier) -> None:
    """Queue a failed or cancelled job again; it goes on where it stopped."""
    with connect(context) as client:
        _print(client.retry(job))


def _print(job: JobRecord) -> None:
    lines(
        f"{job.kind} {job.state.value}",
        [
            ("id", job.id),
            ("done", f"{job.done:,} of {'?' if job.total is None else f'{job.total:,}'} pictures"),
            ("submitted", f"{job.created:%Y-%m-%d %H:%M:%S} UTC"),
            ("started", job.started and f"{job.started:%Y-%m-%d %H:%M:%S} UTC"),
            ("finished", job.finished and f"{job.finished:%Y-%m-%d %H:%M:%S} UTC"),
            ("message", job.message),
            *((name, value) for name, value in job.request.items() if value is not None),
            ("artefacts", ", ".join(job.artefacts) or None),
        ],
    )
