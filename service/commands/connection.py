"""Which service a command talks to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from service.client import Client


@dataclass(frozen=True)
class Connection:
    """Where the service is and the key it is asked with."""

    url: str
    key: str | None


def connect(context: typer.Context) -> Client:
    """A client of the service that the options before the command name."""
    # Imported here: it comes with all that the service speaks of, and `cuecheck --help` need not wait for that.
    from service.client import Client

    connection = context.find_object(Connection)
    assert connection is not None  # set by the root command
    return Client(connection.url, connection.key)
