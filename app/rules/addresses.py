"""Which addresses a webhook may be sent to: those of the public Internet, and what the operator allows besides.

The tables follow the registries of special-purpose addresses at IANA and are written out here, so that the answer does
not change with the Python that runs it.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORBIDDEN = (
    IPv4Network("0.0.0.0/8"),  # this host
    IPv4Network("10.0.0.0/8"),  # private
    IPv4Network("100.64.0.0/10"),  # shared behind a carrier's NAT; metadata of one cloud
    IPv4Network("127.0.0.0/8"),  # loopback
    IPv4Network("168.63.129.16/32"),  # the host of a virtual machine, in a cloud that gave it a public address
    IPv4Network("169.254.0.0/16"),  # link-local; metadata of most clouds
    IPv4Network("172.16.0.0/12"),  # private
    IPv4Network("192.0.0.0/24"),  # protocol assignments; metadata of one cloud
    IPv4Network("192.0.2.0/24"),  # documentation
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv4Network("192.168.0.0/16"),  # private
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),  # documentation
    IPv4Network("203.0.113.0/24"),  # documentation
    IPv4Network("224.0.0.0/4"),  # multicast
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
)
# All that is public in IPv6. Loopback, unspecified, unique and site-local, link-local, multicast and what embeds an
# IPv4 address in some other old way lie outside it.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_FORBIDDEN_IN_IT = (
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, benchmarks, ORCHID
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4, which leads to any IPv4 address
    IPv6Network("3fff::/20"),  # documentation
)
# What stands in these is an IPv4 address and is judged as that one. A host that has IPv6 only reaches all of IPv4
# through NAT64.
_EMBEDDING = (
    IPv6Network("::ffff:0:0/96"),  # mapped
    IPv6Network("64:ff9b::/96"),  # NAT64
)
_IPV4_BITS = 0xFFFF_FFFF


class MalformedNetwork(Exception):
    """A text that names no network; str() says which."""


def is_forbidden(address: str) -> bool:
    """Whether no webhook goes there unless the operator allows it. A text that is no plain address is forbidden too."""
    read = _read(address)
    return read is None or not _is_public(read)


def may_be_reached(address: str, allowed: Iterable[Network]) -> bool:
    """Whether a webhook may go to the address: it is public, or lies in a network that the operator allowed."""
    read = _read(address)
    return read is not None and (_is_public(read) or any(read in network for network in allowed))


def read_networks(text: str) -> Sequence[Network]:
    """The networks of a list with commas, as `10.1.0.0/16, ::1/128`. Raises MalformedNetwork."""
    return [_read_network(part.strip()) for part in text.split(",") if part.strip()]


def _read(text: str) -> Address | None:
    """The address that is meant; one with a zone is link-local, and none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        return None
    is_embedding = any(address in network for network in _EMBEDDING)
    return IPv4Address(int(address) & _IPV4_BITS) if is_embedding else address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _FORBIDDEN)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _FORBIDDEN_IN_IT)


def _read_network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise MalformedNetwork(f"{text!r} is no network; write one such as 10.1.0.0/16 or ::1/128") from error
