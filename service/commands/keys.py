"""`cuecheck keys`: the API keys, in the store that the settings name; the service need not run."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.settings import Settings
from jobs.store import Store
from service.console import err, out, table
from service.keys import SCOPES, KeyStore, Scope

app = typer.Typer(help="API keys: create, list, revoke. Works on the store itself.", no_args_is_help=True)


def _keys() -> KeyStore:
    return KeyStore(Store.from_settings(Settings()))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    scopes: Annotated[list[str], typer.Option("--scope", help=f"One of {', '.join(SCOPES)}; repeatable.")],
) -> None:
    """Make a key; its token is printed on standard output, once, and is not kept."""
    chosen: list[Scope] = []
    for scope in scopes:
        if scope not in SCOPES:
            raise typer.BadParameter(f"{scope!r} is not one of {', '.join(SCOPES)}", param_hint="--scope")
        chosen.append(scope)
    record, token = _keys().create(name, chosen)
    err.print(f"key {record.id} ({record.name}): {', '.join(record.scopes)}. It is shown this once:")
    out.print(token, soft_wrap=True)


@app.command("list")
def list_all() -> None:
    """List the keys that have not been revoked."""
    rows = table("id", "name", "scopes", "created")
    for record in _keys().list():
        rows.add_row(record.id, record.name, ", ".join(record.scopes), f"{record.created:%Y-%m-%d %H:%M}")
    out.print(rows)


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="Id of the key, 12 hexadecimal digits.")]) -> None:
    """Make a key worthless, within a few seconds everywhere."""
    _keys().revoke(key)
    out.print(f"revoked {key}")
