"""Ports for servers that tests start."""

import random
import socket
from contextlib import ExitStack, suppress

PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: none of them takes a port of ours meanwhile."""


def free_ports(count: int) -> list[int]:
    """So many different ports of loopback that nobody has at this moment."""
    found: list[int] = []
    with ExitStack() as held:
        for port in random.sample(PORTS, len(PORTS)):
            if len(found) == count:
                return found
            probe = held.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    raise OSError("no port is free")


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
