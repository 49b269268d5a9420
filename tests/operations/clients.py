"""Clients that keep their keys, and what the ledger has of what they sent."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

import aiohttp
import asyncpg

from tests.flow.stack import Stack, Tenant, make_catalogue
from tests.waiting import wait_until_async

CUSTOMERS, SENDERS, GRANTED = 5, 4, 50_000
MICRO = 1_000_000
Event = tuple[str, str, int]
"""(customer, key, units)."""


def events(kind: str, count: int) -> list[Event]:
    """Usage of all customers in turn."""
    return [(f"user_{number % CUSTOMERS}", f"{kind}-{number}", 1 + number % 3) for number in range(count)]


async def subscribe(tenant: Tenant) -> None:
    """All customers, with GRANTED credits each."""
    variant = await make_catalogue(tenant.core, GRANTED)
    for number in range(CUSTOMERS):
        body = {"end_user_id": f"user_{number}", "plan_variant_id": variant}
        await tenant.core.created("/v1/subscriptions", body)


class Sender:
    """A client that keeps its keys and sends each until it is acknowledged."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.acknowledged: set[str] = set()

    async def send(self, event: Event) -> None:
        """Until there is an answer that promises something."""
        end_user_id, key, units = event
        body = {"end_user_id": end_user_id, "feature_key": "api_calls", "units": units, "idempotency_key": key}

        async def is_acknowledged() -> bool:
            try:
                answer = await self._tenant.edge.post("/v1/usage", body)
            except (aiohttp.ClientError, TimeoutError):
                return False
            assert answer.status in {HTTPStatus.ACCEPTED, HTTPStatus.SERVICE_UNAVAILABLE}, answer.body
            return answer.status == HTTPStatus.ACCEPTED

        await wait_until_async(is_acknowledged, 60, f"{key} to be acknowledged")
        self.acknowledged.add(key)

    async def send_all(self, wanted: list[Event]) -> None:
        """All, some at a time."""
        waiting = list(reversed(wanted))

        async def send_some() -> None:
            while waiting:
                await self.send(waiting.pop())

        await asyncio.gather(*[send_some() for _ in range(SENDERS)])


async def posted(stack: Stack) -> dict[str, dict[str, int]]:
    """Units by customer and key, as the ledger has them; each key once."""
    connection = await asyncpg.connect(stack.stores.database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await connection.fetch(
                "SELECT a.end_user_id, e.idempotency_key, e.units_micro FROM usage_events e "
                "JOIN accounts a ON a.environment_id = e.environment_id AND a.id = e.account_id"
            )
            totals = await connection.fetch("SELECT end_user_id, total_micro FROM accounts")
    finally:
        await connection.close()
    found: dict[str, dict[str, int]] = {row["end_user_id"]: {} for row in totals}
    for row in rows:
        assert row["idempotency_key"] not in found[row["end_user_id"]]
        found[row["end_user_id"]][row["idempotency_key"]] = row["units_micro"] // MICRO
    for row in totals:
        assert row["total_micro"] == (GRANTED - sum(found[row["end_user_id"]].values())) * MICRO
    return found


def keys_of(found: Mapping[str, Mapping[str, int]]) -> set[str]:
    """Every key that the ledger has."""
    return {key for by_key in found.values() for key in by_key}
