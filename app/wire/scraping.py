"""Who may read the figures of a process at `/metrics`: the operator's collector, and by default this machine alone."""

import hmac
from ipaddress import ip_address

BEARER = "bearer "
REFUSED = (
    "These figures are the operator's: send 'Authorization: Bearer <METRICS_TOKEN>'. "
    "Where METRICS_TOKEN is not set, only this machine may ask, and not through a proxy."
)
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers by which a proxy on this machine says that it speaks for somebody else."""


def may_scrape(token: str | None, authorization: str, peer: str, *, is_forwarded: bool) -> bool:
    """Whether a request may have the figures. `peer` is the address of who connected, `""` where that is not known."""
    if token is not None:
        sent = authorization[len(BEARER) :].strip() if authorization[: len(BEARER)].lower() == BEARER else ""
        return hmac.compare_digest(sent.encode(), token.encode())
    return not is_forwarded and _is_this_machine(peer)


def _is_this_machine(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
