"""Which addresses a load may go to: this machine's own, and no others."""

import ipaddress
from urllib.parse import urlsplit

LOCALHOST = "localhost"


class AddressRefused(Exception):
    """An address that no load is sent to; says why."""


def loopback_url(url: str) -> str:
    """The base address, without a slash at its end. Raises AddressRefused where it is not this machine's own."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise AddressRefused(f"{url!r} is no address: {error}.") from error
    rest = (parts.username, parts.path.strip("/"), parts.query, parts.fragment)
    if parts.scheme != "http" or not host or any(rest):
        raise AddressRefused(f"{url!r} is no base address; give one such as http://127.0.0.1:8000.")
    if host != LOCALHOST and not _is_loopback(host):
        raise AddressRefused(
            f"{host} is not this machine: a load test goes to loopback addresses only (127.0.0.1, ::1, localhost). "
            "Run it on the machine that is to be tested."
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
