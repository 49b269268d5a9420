"""A check after an acknowledgement, on another worker, includes it (invariant 45)."""

import asyncio
import random

import pytest

from app.embedded.valkey import EmbeddedValkey
from tests.edge.lines import balance_of, edge_of, post
from tests.edge.world import Tenant, Wire, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRIES = 10_000
CUSTOMERS, WORKERS = 10, 4
CREDITS = 1_000_000


async def test_what_was_acknowledged_is_in_every_later_check(world: World, valkey: EmbeddedValkey) -> None:
    """10,000 events, each by one worker and then a check by another: none of the checks is without it."""
    tenant, chance = await world.tenant(), random.Random(45)

    async def live(end_user_id: str, wires: list[Wire]) -> None:
        """One customer with a connection to each worker."""
        balance = CREDITS
        await tenant.seed(end_user_id, balance)
        for number in range(TRIES // CUSTOMERS):
            recording, checking = chance.sample(wires, 2)
            balance -= await use(recording, tenant, end_user_id, number)
            assert await balance_of(checking, tenant, end_user_id) == balance

    async with edge_of(world, valkey, WORKERS, CUSTOMERS) as lines:
        own = [[wires[number] for wires in lines.values()] for number in range(CUSTOMERS)]
        await asyncio.gather(*(live(f"user_{number}", wires) for number, wires in enumerate(own)))


async def use(wire: Wire, tenant: Tenant, end_user_id: str, number: int) -> int:
    """One event; its units."""
    units = number % 9 + 1
    event = {"end_user_id": end_user_id, "feature_key": "api_calls", "units": units, "idempotency_key": str(number)}
    assert (await post(wire, tenant, "/v1/usage", event)).status == 202
    return units
