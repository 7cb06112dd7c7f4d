"""`cuecheck webhook`: tell other systems that jobs have ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from service.commands.connection import connect
from service.commands.subjects import asked
from service.console import ExitCode, err, out, table

app = typer.Typer(help="Webhooks: add, list, remove, test; what was delivered.", no_args_is_help=True)
Identifier = Annotated[str, typer.Argument(help="Id of the webhook.")]
STYLES = {"delivered": "green", "failed": "red", "pending": "yellow"}


@app.command()
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="Where events are posted to.")],
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="succeeded, failed or cancelled; repeatable. All if left out."),
    ] = None,
    gate: Annotated[
        Path | None, typer.Option(help="Rule file: events of audits then carry its verdict.", dir_okay=False)
    ] = None,
) -> None:
    """Subscribe an address; the secret that signs its messages is printed on standard output, once."""
    from jobs.webhook import Subscription
    from jobs.webhook_event import JOB_TYPE

    try:
        rules = None if gate is None else gate.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot be read: {error}", param_hint="--gate") from error
    fields = {"url": url, "types": [JOB_TYPE + name for name in types] if types else None, "gate": rules}
    wanted = asked(Subscription, fields)
    with connect(context) as client:
        webhook = client.webhooks.add(wanted)
    err.print(f"webhook {webhook.id}; its secret is shown this once:")
    out.print(webhook.secret, soft_wrap=True)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List the webhooks."""
    rows = table("id", "address", "events", "gate", "created")
    with connect(context) as client:
        for webhook in client.webhooks.list():
            events = ", ".join(name.rpartition(".")[2] for name in webhook.types)
            gate = "yes" if webhook.gate else ""
            rows.add_row(webhook.id, Text(webhook.url), events, gate, f"{webhook.created:%Y-%m-%d %H:%M}")
    out.print(rows)


@app.command()
def remove(context: typer.Context, webhook: Identifier) -> None:
    """Send nothing more there, not even what was due."""
    with connect(context) as client:
        client.webhooks.remove(webhook)
    out.print(f"removed {webhook}")


@app.command()
def test(context: typer.Context, webhook: Identifier) -> None:
    """Send a test event now; the exit code is 1 where it is not received."""
    with connect(context) as client:
        found = client.webhooks.test(webhook)
    if found.error is not None:
        err.print(f"not received: {found.error}", markup=False)
        raise typer.Exit(ExitCode.FAILED)
    out.print(f"received: {found.status}")


@app.command()
def deliveries(
    context: typer.Context, webhook: Identifier, most: Annotated[int, typer.Option(min=1, max=500)] = 20
) -> None:
    """List what was sent there and what came of it, the newest first."""
    rows = table("when", "event", "job", "state", "tries", "status", "reason")
    with connect(context) as client:
        for one in client.webhooks.deliveries(webhook, most):
            rows.add_row(
                f"{one.created:%Y-%m-%d %H:%M:%S}",
                one.type.removeprefix("org.cuecheck."),
                (one.job or "")[:12],
                Text(one.state, STYLES[one.state]),
                str(one.attempts),
                "" if one.status is None else str(one.status),
                Text(one.error or ""),
            )
    out.print(rows)
