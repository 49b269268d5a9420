"""Which client a request comes from, where proxies stand before it.

A proxy that is trusted adds whom it heard at the end of X-Forwarded-For. So the client is the last address in it that
is no such proxy; what stands before was written by that client, and may be anything.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

HEADER = "x-forwarded-for"
MAX_HOPS = 16
"""Of the addresses in the header the last ones are looked at; nobody has so many proxies."""
_IPV6_PREFIX = 64
"""Of an IPv6 address, as much stands for one client: the rest is theirs to choose."""
Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address


class MalformedNetwork(ValueError):
    """The text is no network such as 10.0.0.0/8."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks from a list with commas. Raises MalformedNetwork."""
    names = [name.strip() for name in text.split(",")]
    try:
        return tuple(ip_network(name) for name in names if name)
    except ValueError as error:
        raise MalformedNetwork(str(error)) from error


def client_of(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Who sent the request that came from `peer`; an IPv6 client by its network. What is no address stays as it is."""
    client = _parse(peer)
    for hop in reversed(forwarded_for.split(",")[-MAX_HOPS:]):
        if client is None or not any(client in network for network in trusted):
            break
        before = _parse(hop.strip())
        if before is None:
            break
        client = before
    return peer if client is None else _show(client)


def _parse(text: str) -> _Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _show(address: _Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address.packed[: _IPV6_PREFIX // 8] + bytes(8), _IPV6_PREFIX)))
