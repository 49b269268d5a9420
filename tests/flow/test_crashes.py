"""Processes are killed at random while usage comes in: what was acknowledged is in the ledger, once."""

import asyncio
import random
from collections import defaultdict
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from app.io.postgres import Database, Transaction
from tests.flow.stack import Client, Stack, make_catalogue, open_session, running_stack
from tests.waiting import wait_until_async

EVENTS, CUSTOMERS, BATCH, KILLS, SENDERS = 20_000, 200, 50, 10, 4
SEED = 20_261_123
RETRY_SECONDS = 60


class Oracle:
    """What the clients sent, and what was acknowledged."""

    def __init__(self, randomness: random.Random) -> None:
        self.units: dict[str, dict[str, int]] = defaultdict(dict)
        self.acknowledged: set[str] = set()
        self.batches = [self._batch(number, randomness) for number in range(EVENTS // BATCH)]

    def _batch(self, number: int, randomness: random.Random) -> list[dict[str, object]]:
        events: list[dict[str, object]] = []
        for index in range(BATCH):
            user, units, key = f"user_{randomness.randrange(CUSTOMERS)}", randomness.randint(1, 9), f"{number}:{index}"
            self.units[user][key] = units
            events.append({"end_user_id": user, "feature_key": "api_calls", "units": units, "idempotency_key": key})
        return events


async def send_until_acknowledged(edge: Client, oracle: Oracle, events: list[dict[str, object]]) -> None:
    """A client as ours are: the same keys again until every event of the batch is acknowledged."""

    async def is_acknowledged() -> bool:
        try:
            answer = await edge.post("/v1/usage/batch", {"events": events})
        except (aiohttp.ClientError, TimeoutError):
            return False
        if answer.status != HTTPStatus.ACCEPTED:
            assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE, answer.body
            return False
        results = answer.body["results"]
        for event, result in zip(events, results, strict=True):
            if result["status"] == "accepted":
                oracle.acknowledged.add(str(event["idempotency_key"]))
        return all(result["status"] == "accepted" for result in results)

    await wait_until_async(is_acknowledged, RETRY_SECONDS, "a batch to be acknowledged")


async def send_all(stack: Stack, key: str, oracle: Oracle, randomness: random.Random) -> None:
    """Several senders share the batches; a fifth of them go out twice, some side by side."""
    async with open_session() as session:
        edge = Client(session, stack.edge_url, key)
        waiting = [*oracle.batches, *randomness.sample(oracle.batches, len(oracle.batches) // 5)]
        randomness.shuffle(waiting)

        async def sender() -> None:
            while waiting:
                await send_until_acknowledged(edge, oracle, waiting.pop())

        await asyncio.gather(*[sender() for _ in range(SENDERS)])


async def kill_now_and_then(stack: Stack, oracle: Oracle, randomness: random.Random) -> None:
    """Ten kills, spread over the run by how much was acknowledged."""
    for number in range(KILLS):
        due = EVENTS * (number + randomness.random()) / (KILLS + 1)

        async def has_come_so_far(due: float = due) -> bool:
            return len(oracle.acknowledged) >= due

        await wait_until_async(has_come_so_far, 120, f"{due:.0f} events to be acknowledged")
        name = randomness.choice(["edge", "flusher"])
        await stack.kill(name)
        stack.start(name)


async def posted_units(stack: Stack) -> dict[str, dict[str, int]]:
    """What the ledger has: units by customer and key."""
    database = await Database.open(stack.stores.database_url, "test", 1)

    async def read(tx: Transaction) -> dict[str, dict[str, int]]:
        rows = await tx.connection.fetch(
            "SELECT a.end_user_id, e.idempotency_key, e.units_micro FROM usage_events e "
            "JOIN accounts a ON a.environment_id = e.environment_id AND a.id = e.account_id"
        )
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for row in rows:
            found[row["end_user_id"]][row["idempotency_key"]] = row["units_micro"] // 1_000_000
        assert sum(map(len, found.values())) == len(rows)
        return found

    try:
        return await database.run(None, read)
    finally:
        await database.close()


@pytest.mark.timeout(300)
async def test_every_acknowledged_event_is_in_the_ledger_once(tmp_path: Path) -> None:
    """20,000 events, a fifth of the batches sent twice, edge and flusher killed ten times: all of it, once."""
    randomness = random.Random(SEED)
    oracle = Oracle(randomness)
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        variant = await make_catalogue(tenant.core)
        for number in range(CUSTOMERS):
            body = {"end_user_id": f"user_{number}", "plan_variant_id": variant}
            await tenant.core.created("/v1/subscriptions", body)
        await asyncio.gather(
            send_all(stack, tenant.sandbox_key, oracle, randomness), kill_now_and_then(stack, oracle, randomness)
        )
        assert len(oracle.acknowledged) == EVENTS

        async def all_posted() -> bool:
            return sum(map(len, (await posted_units(stack)).values())) >= EVENTS

        await wait_until_async(all_posted, 60, "every event to be posted")
        assert await posted_units(stack) == oracle.units
        report = await stack.verify()
        assert (report.findings, report.counts["events"]) == ([], EVENTS)
