"""What the command line prints, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from pydantic import ValidationError
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from jobs.errors import in_words
from jobs.records import JobRecord, JobState

PIPED_WIDTH = 240
"""Columns where the output is read by another program: ids must not be cut in two."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PIPED_WIDTH)


class ExitCode(IntEnum):
    """How every command ends; `cuecheck --help` lists them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BUSY = 3
    INTERRUPTED = 130


STATE_STYLES = {
    JobState.QUEUED: "yellow",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "magenta",
}


def complain(message: str, field: str | None = None, remedy: str | None = None) -> None:
    """Say on standard error what was wrong, where, and what to do."""
    place = f" [dim](field {escape(field)})[/]" if field else ""
    err.print(f"[bold red]error:[/] {escape(message)}{place}")
    if remedy:
        err.print(f"[bold]remedy:[/] {escape(remedy)}")


def faults(error: ValidationError, whole: str = "") -> str:
    """What is wrong with which field, in a line; `whole` names the place of what no single field is to blame for."""
    named = ((".".join(map(str, fault["loc"])) or whole, in_words(fault["msg"])) for fault in error.errors())
    return "; ".join(f"{place}: {message}" for place, message in named)


class _Rows(Table):
    """A table whose texts are no markup: names of people's files and classes may hold brackets."""

    def add_row(self, *cells: RenderableType | None, **keys: Any) -> None:
        super().add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), **keys)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house style, which shows texts as they are."""
    made = _Rows(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def lines(title: str, pairs: Iterable[tuple[str, object]]) -> None:
    """Print one thing: its title, then a name and a value per line; what is None is left out."""
    out.print(f"[bold]{escape(title)}[/]")
    for name, value in pairs:
        if value is not None:
            out.print(f"  {name:<12}", Text(str(value)))


class _Left(ProgressColumn):
    """Pictures per second and the time left, as the service reckons them."""

    def render(self, task: Task) -> Text:
        rate, left = task.fields.get("rate"), task.fields.get("left")
        pace = f"{rate:.1f}/s" if rate else ""
        return Text(f"{pace}  {left:.0f} s left" if left else pace, style="dim")


@contextmanager
def job_progress() -> Iterator[JobProgress]:
    """A progress bar of one job, on standard error."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Left(),
        TimeElapsedColumn(),
        console=err,
    ) as progress:
        yield JobProgress(progress)


class JobProgress:
    """A bar that shows a job's record."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("job", total=None)

    def show(self, job: JobRecord) -> None:
        """Show the latest record."""
        self._progress.update(
            self._task,
            description=f"{job.kind} [{STATE_STYLES[job.state]}]{job.state.value}[/]",
            completed=job.done,
            total=job.total,
            rate=job.rate,
            left=job.seconds_left,
        )


@contextmanager
def picture_progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar that is moved on by one at each call of what it gives."""
    with Progress(SpinnerColumn(), TextColumn(what), BarColumn(), MofNCompleteColumn(), console=err) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def counted_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that is told how many are done and how many there are at each call of what it gives."""
    with Progress(SpinnerColumn(), TextColumn(what), BarColumn(), MofNCompleteColumn(), console=err) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def byte_progress() -> Progress:
    """A progress bar for bytes on their way, on standard error."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=err,
    )
