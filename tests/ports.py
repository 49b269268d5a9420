"""Ports for servers that tests start."""

import os
import random
import socket
from contextlib import ExitStack, suppress

PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: none of them takes a port of ours meanwhile."""


def own_ports() -> range:
    """Those of this process: where the suite runs in several, none takes a port that another has just found free."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return PORTS[worker::workers]


def free_ports(count: int) -> list[int]:
    """So many different ports of loopback that nobody has at this moment."""
    found: list[int] = []
    with ExitStack() as held:
        for port in random.sample(own_ports(), len(own_ports())):
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
