"""Which network addresses are public, and which are somebody's inside."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Networks = tuple[Network, ...]

PLATFORMS = (ipaddress.ip_network("168.63.129.16/32"), ipaddress.ip_network("192.0.0.0/24"))
"""Public by number, but the platform services of Azure, and of Oracle's cloud among the protocol assignments."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def networks(text: str) -> Networks:
    """Networks from a list with commas, such as `10.1.0.0/16, fd00::/8`.

    Raises:
        ValueError: a part is no network.
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def forbidden(address: Address, allowed: Networks = ()) -> bool:
    """Whether an address is private, loopback, link-local, multicast, a cloud's metadata or otherwise not public.

    Addresses that wrap an IPv4 address (mapped, 6to4, Teredo, NAT64) are what they wrap.
    """
    if any(address in network for network in allowed):
        return False
    if isinstance(address, ipaddress.IPv6Address) and (inner := _wrapped(address)) is not None:
        return forbidden(inner, allowed)
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    inside = not address.is_global or address.is_multicast or address.is_reserved or site_local
    return inside or any(address in network for network in PLATFORMS)


def _wrapped(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
