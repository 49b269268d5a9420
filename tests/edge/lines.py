"""Many connections to an edge of several workers, each known by its worker: raw, so that a test can ask very often."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tests.edge.world import Answer, Tenant, Wire, World, own_edge

MOST_CONNECTIONS = 1_000
"""Which worker a connection gets is left to the system: so many are tried until every worker has enough."""
WORKER_OF_ID = slice(len("req_"), len("req_") + 12)
"""In the id of a request: chosen once by each worker."""

Lines = Mapping[str, list[Wire]]
"""Connections by worker."""


@asynccontextmanager
async def lines_to(world: World, workers: int, least: int) -> AsyncIterator[Lines]:
    """At least so many connections to every worker of the edge."""
    lines: dict[str, list[Wire]] = defaultdict(list)

    try:
        while len(lines) < workers or min(map(len, lines.values())) < least:
            assert sum(map(len, lines.values())) < MOST_CONNECTIONS, "a worker gets hardly any of the connections"
            wire = await Wire.open(world.edge.port)
            wire.send(b"GET /readyz HTTP/1.1\r\nHost: edge\r\n\r\n")
            lines[(await wire.answer()).headers["X-Request-Id"][WORKER_OF_ID]].append(wire)
        yield lines
    finally:
        for wire in (wire for wires in lines.values() for wire in wires):
            await wire.close()


@asynccontextmanager
async def edge_of(world: World, valkey: Any, workers: int, least: int) -> AsyncIterator[Lines]:
    """Connections to an edge of the test's own."""
    async with own_edge(world, valkey, workers=workers) as own, lines_to(own, workers, least) as lines:
        yield lines


def spread(lines: Lines, count: int) -> Iterator[Wire]:
    """So many of the connections, worker after worker."""
    for number in range(count):
        wires = list(lines.values())[number % len(lines)]
        yield wires[number // len(lines)]


async def post(wire: Wire, tenant: Tenant, path: str, body: Any) -> Answer:
    """One request with a body on a connection that is idle."""
    content = msgspec.json.encode(body)
    lines = ("Content-Type: application/json", f"Content-Length: {len(content)}")
    wire.send(tenant.head(f"POST {path} HTTP/1.1", *lines) + content)
    return await wire.answer()


async def balance_of(wire: Wire, tenant: Tenant, end_user_id: str) -> int:
    """What a check says that the customer can spend."""
    wire.send(tenant.head(f"GET /v1/entitlements/check?end_user_id={end_user_id}&feature_key=api_calls HTTP/1.1"))
    return (await wire.answer()).body["balance"]
