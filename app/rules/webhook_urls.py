"""Which URLs a webhook endpoint may have.

Only the plain form is taken, in ASCII and without anything that two readers could read in two ways. Where a name leads
is seen when it is connected to, each time anew (app/io/guard.py).
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from app.rules.addresses import Network, is_forbidden, may_be_reached

MAX_URL_LENGTH = 2_048
_MAX_NAME_LENGTH = 253
_MAX_PORT = 65_535

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?\[\]@:]+)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?:[/?](?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*)?"
)
_NAME = re.compile(r"(?:(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\.?")
# An old spelling of an IPv4 address, which some resolvers understand: 127.1, 0x7f.0.0.1, 2130706433.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")


class UnusableUrl(Exception):
    """A URL that no endpoint can have; str() says what is wrong with it and what to do."""


def require_url(url: str, *, https_only: bool, allowed: Iterable[Network] = ()) -> None:
    """Raise UnusableUrl for what is no plain http(s) URL, or names an address that is not public and not `allowed`.

    With `https_only` http is for addresses that are allowed though they are not public: inside, TLS may have its end
    elsewhere.
    """
    if len(url) > MAX_URL_LENGTH:
        raise UnusableUrl(f"the URL is longer than {MAX_URL_LENGTH} characters")
    match = _URL.fullmatch(url)
    if match is None:
        raise UnusableUrl(
            "not a plain URL: write https://host/path, without user, password or fragment, "
            "with other characters percent-encoded and the host in its ASCII form"
        )
    if int(match["port"] or 1) > _MAX_PORT:
        raise UnusableUrl(f"the port is above {_MAX_PORT}")
    is_inside = _check_host(match["host"], allowed)
    if https_only and match["scheme"] != "https" and not is_inside:
        raise UnusableUrl("the URL has to begin with https://")


def _check_host(host: str, allowed: Iterable[Network]) -> bool:
    """Whether the host is an address that only the operator's list allows."""
    address = _address_in(host)
    if address is not None:
        if not may_be_reached(address, allowed):
            raise UnusableUrl(f"{address} is not a public address; the operator can allow its network")
        return is_forbidden(address)
    if _ENDS_IN_NUMBER.fullmatch(host):
        raise UnusableUrl(
            "the host looks like an IPv4 address and is not one: write four decimal numbers, as 192.0.2.7"
        )
    if len(host) > _MAX_NAME_LENGTH or not _NAME.fullmatch(host):
        raise UnusableUrl("the host is not a name: letters, digits and hyphens between dots; xn--… for other scripts")
    return False


def _address_in(host: str) -> str | None:
    """The address where the host is one, as its own text."""
    try:
        return str(IPv6Address(host[1:-1]) if host.startswith("[") else IPv4Address(host))
    except AddressValueError:
        if host.startswith("["):
            raise UnusableUrl("what stands in brackets is not an IPv6 address") from None
        return None
