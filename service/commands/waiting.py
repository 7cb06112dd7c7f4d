"""Waiting for the end of a job, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.records import JobRecord, JobState
from service.console import ExitCode, complain, err, job_progress, out

if TYPE_CHECKING:
    from service.client import Client


Wait = Annotated[bool, typer.Option(help="Wait for the end; without it the job's id is printed.")]


def await_end(
    client: Client, job: JobRecord, wait: bool = True, seen: Callable[[JobRecord], None] = lambda latest: None
) -> None:
    """Follow a job until it has succeeded; one that fails or is cancelled ends the command with exit code 1.

    wait: without it the job's id is printed, and that ends the command.
    seen: called with every record of it, while the bar is shown.
    """
    if not wait:
        out.print(job.id)
        raise typer.Exit
    try:
        with job_progress() as progress:
            for latest in client.follow(job.id):
                progress.show(latest)
                seen(latest)
    except KeyboardInterrupt:
        err.print(f"The {job.kind} goes on: cuecheck jobs follow {job.id}, or jobs cancel.")
        raise
    if latest.state is not JobState.SUCCEEDED:
        complain(f"The {job.kind} {job.id} {'was cancelled' if latest.state is JobState.CANCELLED else 'failed'}.")
        if latest.message:
            err.print(latest.message, markup=False)
        raise typer.Exit(ExitCode.FAILED)
