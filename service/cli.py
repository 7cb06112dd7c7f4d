"""`cuecheck` on the command line: what runs the service, and what asks it.

Exit codes: 0 done; 1 failed, or the service refused; 2 wrong usage; 3 the service cannot be reached or is too busy
(try again later); 130 interrupted. Where a gate decides: 0 pass, 1 fail, 2 undecided; and 64 wrong usage, 70 failed.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from jobs.errors import JobsError, Unavailable
from jobs.settings import Settings
from models.errors import ModelsError
from service.client_errors import Busy, ClientError
from service.commands import (
    annotate,
    audit,
    banks,
    classifiers,
    compare,
    datasets,
    demo,
    encoders,
    gate,
    jobs,
    keys,
    masks,
    mitigate,
    planted,
    server,
)
from service.commands.connection import Connection
from service.console import ExitCode, complain, err, out
from service.stack import local_url
from service.verdicts import Decided, exit_code

app = typer.Typer(
    help="Shows which parts of a picture a classifier relies on that it should not.",
    epilog="Exit codes: 0 done; 1 failed or refused; 2 wrong usage; 3 not reached or too busy; 130 interrupted. "
    "With a gate: 0 pass; 1 fail; 2 undecided; 64 wrong usage; 70 failed or refused.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (server, masks, audit, compare, gate, mitigate, demo):
    module.register(app)
for name, group in {
    "jobs": jobs.app,
    "bank": banks.app,
    "annotate": annotate.app,
    "dataset": datasets.app,
    "classifier": classifiers.app,
    "encoder": encoders.app,
    "keys": keys.app,
    "planted": planted.app,
}.items():
    app.add_typer(group, name=name)


def _version(asked: bool) -> None:
    if asked:
        out.print(f"cuecheck {version('cuecheck')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(envvar="CUECHECK_URL", help="Root of the service; the one the settings describe if left out."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="CUECHECK_KEY", help="API key, where the service asks for one.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options for all commands come before the command."""
    context.obj = Connection(url=url or local_url(Settings()), key=key)


def main() -> None:
    """Run the command; whatever it ends with becomes an exit code, and a sentence instead of a traceback."""
    try:
        code = _run()
    except Decided as decided:
        sys.exit(decided.code)
    sys.exit(exit_code(code, sys.argv[1:]))


def _run() -> int:
    try:
        app()
    except SystemExit as end:
        return int(end.code or 0)
    except ClientError as error:
        _complain_of(error)
        return ExitCode.BUSY if isinstance(error, Busy) else ExitCode.FAILED
    except (JobsError, ModelsError) as error:
        complain(str(error), error.field, error.remedy)
        return ExitCode.BUSY if isinstance(error, Unavailable) else ExitCode.FAILED
    return ExitCode.DONE


def _complain_of(error: ClientError) -> None:
    """Show what the service said, or that it said nothing."""
    if error.problem is None:
        complain(str(error))
        return
    complain(error.problem.detail, error.problem.field, error.problem.remedy)
    for fault in error.problem.errors or []:
        err.print(f"  {fault.field}: {fault.detail}", markup=False)


if __name__ == "__main__":
    main()
