"""A backup that is taken while everything is at work brings everything back, and nothing is doubled afterwards."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.flow.stack import Stack, Tenant, drained, make_catalogue, open_session, running_stack
from tests.operations.recipes import Operator, recipe
from tests.waiting import wait_until_async

CUSTOMERS, EVENTS, SENDERS, GRANTED = 5, 400, 4, 50_000
BACKUP, RESTORE = "Backups", "Coming back from a backup"
MICRO = 1_000_000
Event = tuple[str, str, int]
"""(customer, key, units)."""


def events(kind: str, count: int) -> list[Event]:
    """Usage of all customers in turn."""
    return [(f"user_{number % CUSTOMERS}", f"{kind}-{number}", 1 + number % 3) for number in range(count)]


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


@asynccontextmanager
async def lost(directory: Path, stack: Stack, session: aiohttp.ClientSession) -> AsyncIterator[tuple[Sender, Operator]]:
    """A stack with a backup that was taken under load, and whose Postgres is gone for good while its edge goes on."""
    tenant, operator = await stack.tenant(session), Operator(stack, session, directory)
    variant = await make_catalogue(tenant.core, GRANTED)
    for number in range(CUSTOMERS):
        body = {"end_user_id": f"user_{number}", "plan_variant_id": variant}
        await tenant.core.created("/v1/subscriptions", body)
    sender = Sender(tenant)
    load = asyncio.create_task(sender.send_all(events("load", EVENTS)))

    async def is_under_way() -> bool:
        return len(sender.acknowledged) >= EVENTS // 4

    await wait_until_async(is_under_way, 60, "load")
    await operator.follow(recipe(BACKUP))
    await load
    stack.postgres.stop()
    shutil.rmtree(stack.postgres.directory)
    yield sender, operator
    await sender.send_all([*events("load", EVENTS), *events("meanwhile", 20)])
    for number in range(CUSTOMERS):
        await drained(tenant.core, f"user_{number}")

    async def is_all_there() -> bool:
        return keys_of(await posted(stack)) == {key for _, key, _ in events("load", EVENTS) + events("meanwhile", 20)}

    await wait_until_async(is_all_there, 60, "everything to be posted, once")
    assert (await stack.verify()).findings == []


@pytest.mark.timeout(300)
async def test_both_stores_are_lost(tmp_path: Path) -> None:
    """The copy is whole and of one moment; what edges spooled and what clients send again is in it once afterwards."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        async with lost(tmp_path, stack, session) as (sender, operator):
            stack.valkey.stop()
            shutil.rmtree(stack.valkey.directory)
            await sender.send_all(events("meanwhile", 20))
            steps = recipe(RESTORE)
            said = await operator.follow(steps[:-2])
            assert "Nothing differs." in said[-1]
            restored = keys_of(await posted(stack))
            assert restored
            assert restored <= sender.acknowledged
            assert not {key for _, key, _ in events("meanwhile", 20)} & restored
            await operator.follow(steps[-2:-1])
        assert "problem" not in (await operator.follow([*recipe(RESTORE)[-1:]]))[0]


@pytest.mark.timeout(300)
async def test_postgres_alone_is_lost(tmp_path: Path) -> None:
    """What Valkey has still is posted to the copy: all that was acknowledged is there before anybody sends again."""
    async with (
        running_stack(tmp_path) as stack,
        open_session() as session,
        lost(tmp_path, stack, session) as (sender, operator),
    ):
        await sender.send_all(events("meanwhile", 20))
        await operator.follow(recipe(RESTORE)[:-2])
        steps = recipe(RESTORE, 1)
        await operator.follow(steps[:1])

        async def is_posted() -> bool:
            return sender.acknowledged <= keys_of(await posted(stack))

        await wait_until_async(is_posted, 60, "what Valkey has to be posted")
        await operator.follow(steps[1:])
