"""`cuecheck gate`: hold an audit that is done against rules, and leave the verdict as files."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.text import Text

from service.client_errors import Refused
from service.commands.connection import connect
from service.commands.waiting import await_end
from service.console import ExitCode, complain, out, table
from service.verdicts import Decided

if TYPE_CHECKING:
    from jobs.gate import Gate
    from service.client import Client

STYLES = {"pass": "green", "fail": "red", "undecided": "yellow"}
OURS = ("rules", "baseline", "baseline_report")
"""Fields of a request for a verdict that the user wrote: what is refused in them is wrong usage."""


@dataclass(frozen=True)
class Asked:
    """What a gate was asked for on the command line.

    Attributes:
        rules: text of the rule file, which can be read.
        baseline: id of an audit, or None.
        report: the baseline as a saved report, or None.
    """

    rules: str
    baseline: str | None
    report: dict[str, Any] | None


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `app`."""
    app.command(rich_help_panel="Ask the service")(gate)


def gate(
    context: typer.Context,
    audit: Annotated[str, typer.Argument(help="Id of an audit that is done.")],
    rules: Annotated[Path, typer.Argument(help="Rule file, TOML; see docs/gate.md.", dir_okay=False)],
    baseline: Annotated[
        str | None, typer.Option(help="Audit to compare with, where rules say so: its id, or its saved report.json.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for gate.json, gate.xml and gate.md.")] = Path(),
) -> None:
    """Hold an audit against rules: exit code 0 pass, 1 fail, 2 undecided.

    Where rules compare with a baseline, the audits are compared first, which is waited for.
    Leaves the verdict as JSON, JUnit XML and Markdown. Without a verdict the exit code is 64 (wrong usage, rules or
    baseline refused), 70 (failed or refused otherwise), 3 (not reached or too busy) or 130 (interrupted).
    """
    wanted = read(rules, baseline)
    with connect(context) as client:
        decide(client, audit, wanted, folder)


def read(rules: Path, baseline: str | None, measured: Collection[str] | None = None) -> Asked:
    """Read what a gate needs before anything is sent; what cannot be read is wrong usage.

    Args:
        rules: the file.
        baseline: id of an audit, or file of its report.
        measured: names of the measurements that the audit to come was asked for.
    """
    from jobs.errors import Invalid
    from jobs.gate import check_rules
    from jobs.gate_rules import LARGEST_FILE, read_rules

    try:
        with rules.open("rb") as file:
            text = file.read(LARGEST_FILE + 1).decode()
        check_rules(read_rules(text), measured, with_baseline=baseline is not None)
        report = json.loads(Path(baseline).read_bytes()) if baseline and Path(baseline).is_file() else None
    except Invalid as error:
        raise typer.BadParameter(f"{error.message} {error.remedy or ''}".strip(), param_hint=str(rules)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise typer.BadParameter(f"cannot be read: {error}", param_hint=f"{rules}, --baseline") from error
    if report is not None and not isinstance(report, dict):
        raise typer.BadParameter("is not the report of an audit", param_hint="--baseline")
    return Asked(text, None if report is not None else baseline, report)


def decide(client: Client, audit: str, wanted: Asked, folder: Path) -> NoReturn:
    """Ask for the verdict, print it, write its files, and end the command with it."""
    from jobs.gate_files import junit, summary

    try:
        found = client.gate(audit, wanted.rules, wanted.baseline, wanted.report, partial(await_end, client))
    except Refused as error:
        if error.problem is None or error.problem.field not in OURS:
            raise
        complain(error.problem.detail, error.problem.field, error.problem.remedy)
        raise typer.Exit(ExitCode.USAGE) from error
    _print(found)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gate.json").write_bytes(found.to_json())
    (folder / "gate.xml").write_bytes(junit(found))
    (folder / "gate.md").write_text(summary(found), encoding="utf-8")
    out.print(f"\nverdict: {(folder / 'gate.md').resolve()}", soft_wrap=True, markup=False)
    raise Decided(found.verdict)


def _print(found: Gate) -> None:
    out.print()
    out.print(Text(found.answer, style=f"bold {STYLES[found.verdict]}"))
    rows = table("verdict", "rule", "reason")
    for one in found.judged:
        rows.add_row(Text(one.verdict, STYLES[one.verdict]), Text(one.title), Text(one.reading))
    out.print(rows)
