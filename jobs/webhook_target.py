"""Where a webhook's messages go. Whoever subscribes must not make this service speak to the inside of its network.

A name is looked up once, right before the call, and the connection goes to the very address that was checked: a name
server that answers differently the second time (DNS rebinding) is not asked a second time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from typing import Any, NamedTuple

import httpx

from jobs.addresses import Networks, forbidden
from jobs.errors import Invalid

HOST = re.compile(r"[A-Za-z0-9._:-]+")
"""What names and addresses consist of, as they are sent."""


class Forbidden(Exception):
    """The host has an address that must not be called."""


class Target(NamedTuple):
    """What of a URL decides where the connection goes."""

    host: str
    port: int
    https: bool


def target_of(url: str) -> Target:
    """The host and port of an http or https URL.

    Raises:
        Invalid: it is none, names a host or port there cannot be, or carries a name and password.
    """
    try:
        parsed = httpx.URL(url)
        port = parsed.port
    except httpx.InvalidURL as error:
        raise Invalid(f"{url[:200]!r} is no URL: {error}.", field="url") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Invalid(f"{url[:200]!r} is no http or https address.", field="url", remedy="Use https://host/path.")
    if parsed.userinfo:
        raise Invalid(
            "The address holds a name or password.",
            field="url",
            remedy="Leave it out: messages are signed, which the receiver can check.",
        )
    https, host = parsed.scheme == "https", parsed.raw_host.decode("ascii")
    if not HOST.fullmatch(host) or not 0 < (port or 1) < 2**16:
        raise Invalid(
            f"{url[:200]!r} names no host and port there can be.", field="url", remedy="Use https://host/path."
        )
    return Target(host, port or (443 if https else 80), https)


async def resolve(target: Target, allowed: Networks) -> list[str]:
    """The addresses of a host, all of them checked, in the order they are to be tried.

    Raises:
        OSError: the name has none. Forbidden: one of them must not be called.
    """
    loop = asyncio.get_running_loop()
    found: list[Any] = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for address in addresses:
        if forbidden(ipaddress.ip_address(address), allowed):
            raise Forbidden(f"{target.host} has the address {address}, which is not public")
    return addresses
