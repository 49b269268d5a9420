"""The edge on a Valkey of its own, with the one customer whom it knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from app.wire.agreement import Durability
from loadtests.customer import Customer
from loadtests.servers import running_edge
from loadtests.stores import log_settings, running_valkey


class EdgeStack(NamedTuple):
    """What a bench has to know of it."""

    customer: Customer
    port: int
    redis: Any
    """A client; redis-py types little."""
    socket_path: str
    """Where Valkey listens."""
    pid: int
    """The edge's process; its worker is a child of it."""

    @property
    def durability(self) -> str:
        """When Valkey writes to the disk."""
        return log_settings(self.redis)


@contextmanager
def running_edge_stack(directory: Path, durability: Durability = "always") -> Iterator[EdgeStack]:
    """Valkey and an edge of one worker, ready, with full credit for the customer."""
    with running_valkey(directory, durability) as (url, redis):
        customer = Customer(redis)
        customer.reset()
        with running_edge(directory, url, customer.key_pepper) as (port, pid):
            yield EdgeStack(customer, port, redis, url.removeprefix("unix://"), pid)
