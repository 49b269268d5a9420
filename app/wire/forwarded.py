"""Which client a request comes from, where proxies stand before it.

A proxy that is trusted adds whom it heard at the end of X-Forwarded-For. So the client is the last address in it that
is no such proxy; what stands before was written by that client, and may be anything.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from app.rules.addresses import Address, Network

HEADER = "x-forwarded-for"
MAX_HOPS = 16
"""Of the addresses in the header the last ones are looked at; nobody has so many proxies."""
_IPV6_PREFIX = 64
"""Of an IPv6 address, as much stands for one client: the rest is theirs to choose."""


def client_of(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Who sent the request that came from `peer`; an IPv6 client by its network. What is no address stays as it is."""
    address = _sender(peer, forwarded_for, trusted)
    return peer if address is None else _show(address)


def address_of(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The address itself, to be told to whoever comes next. What is no address stays as it is."""
    address = _sender(peer, forwarded_for, trusted)
    return peer if address is None else str(address)


def _sender(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> Address | None:
    client = _parse(peer)
    for hop in reversed(forwarded_for.split(",")[-MAX_HOPS:]):
        if client is None or not any(client in network for network in trusted):
            break
        before = _parse(hop.strip())
        if before is None:
            break
        client = before
    return client


def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _show(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address.packed[: _IPV6_PREFIX // 8] + bytes(8), _IPV6_PREFIX)))
