"""A check after an acknowledgement, on any worker, includes it (invariant 45)."""

import asyncio
import random

import aiohttp
import pytest

from tests.edge.world import Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRIES = 300
CUSTOMERS = 6


async def test_what_was_acknowledged_is_in_every_later_check(tenant: Tenant) -> None:
    """Usage on one connection, the check on another, to both workers, many customers at once."""
    chance = random.Random(45)
    sessions = [aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) for _ in range(8)]
    clients = [tenant.on(session) for session in sessions]

    async def live(end_user_id: str) -> None:
        balance = 100_000
        await tenant.seed(end_user_id, balance)
        for _ in range(TRIES // CUSTOMERS):
            units = chance.randint(1, 9)
            answer = await chance.choice(clients).use(end_user_id, units=units)
            balance -= units
            assert answer.body["balance"] == balance
            checks = await asyncio.gather(*(client.check(end_user_id) for client in chance.sample(clients, 3)))
            assert [check.body["balance"] for check in checks] == [balance] * 3

    await asyncio.gather(*(live(f"user_{number}") for number in range(CUSTOMERS)))
    for session in sessions:
        await session.close()
