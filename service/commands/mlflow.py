"""`cuecheck mlflow`: audits as runs of an MLflow server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.connection import connect
from service.console import out

if TYPE_CHECKING:
    from service.client import Client
    from service.mlflow_run import Destination

app = typer.Typer(help="MLflow: log an audit as a run (needs the extra `mlflow`).", no_args_is_help=True)

Experiment = Annotated[str, typer.Option(help="Name of the experiment; made where there is none.")]


@app.command()
def log(
    context: typer.Context,
    audit: Annotated[str, typer.Argument(help="Id of an audit that is done.")],
    tracking_uri: Annotated[str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="The MLflow server.")],
    experiment: Experiment = "cuecheck",
    model: Annotated[str | None, typer.Option(help="Registered model whose version is tagged too.")] = None,
    model_version: Annotated[str | None, typer.Option(help="That version.")] = None,
) -> None:
    """Log an audit: figures with their intervals, parameters, digests, verdict, and the report as files.

    Logged again, an audit updates the run it has. Exit code 3 says that MLflow does not answer: try again later.
    """
    from service.mlflow_run import Destination

    if (model is None) is not (model_version is None):
        raise typer.BadParameter("a model version has a name and a number", param_hint="--model, --model-version")
    with connect(context) as client:
        send(client, audit, Destination(tracking_uri, experiment, model, model_version))


@app.callback()
def group() -> None:
    """Keeps `log` a command of its own: Typer makes an app with one command that command."""


def send(client: Client, audit: str, destination: Destination) -> None:
    """Fetch an audit's report from the service and log it, saying where it went."""
    from service.mlflow_run import log_audit

    record = client.job(audit)
    report = client.report(audit)
    kinds = {"report.json": "application/json", "report.html": "text/html"}
    files = {name: client.report_bytes(audit, media_type) for name, media_type in kinds.items()}
    logged = log_audit(report, files, record.finished or record.created, destination)
    done = "updated" if logged.updated else "logged"
    out.print(f"mlflow: {done} run {logged.run} of {destination.uri}", soft_wrap=True, markup=False)
