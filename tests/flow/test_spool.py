"""Redis is killed, and an edge beside it: usage goes on, and in the end every acknowledged event is posted once."""

import asyncio
import os
import signal
from collections import defaultdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.io.postgres import Database, Transaction
from tests.flow.stack import Client, Stack, Tenant, drained, make_catalogue, open_session, running_stack
from tests.waiting import wait_until_async

CUSTOMERS, SECONDS = 8, 60
KNOWN_BY_ALL = 40
"""Requests after which every worker has met the key."""


class Sender:
    """One customer's client: sends one event after the other, each under its own key until it is acknowledged."""

    def __init__(self, edge: Client, number: int) -> None:
        self._edge = edge
        self.end_user_id = f"user_{number}"
        self.acknowledged: list[str] = []
        self.spooled: set[str] = set()
        self.is_done = False

    async def run(self) -> None:
        """Until told that it is done."""
        while not self.is_done:
            key = f"{self.end_user_id}:{len(self.acknowledged)}"
            await wait_until_async(lambda key=key: self._send(key), SECONDS, f"{key} to be acknowledged")
            self.acknowledged.append(key)

    async def _send(self, key: str) -> bool:
        body = {"end_user_id": self.end_user_id, "feature_key": "api_calls", "units": 2, "idempotency_key": key}
        try:
            answer = await self._edge.post("/v1/usage", body)
        except (aiohttp.ClientError, TimeoutError):
            return False
        if answer.status != HTTPStatus.ACCEPTED:
            assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE, answer.body
            return False
        if answer.body.get("durability") == "spooled":
            assert answer.body["cost"] is None
            self.spooled.add(key)
        else:
            assert answer.body["cost"] == 2
        return True


async def posted(stack: Stack) -> dict[str, list[str]]:
    """The keys of every customer's events in the ledger, in the order in which they were accepted."""
    database = await Database.open(stack.stores.database_url, "test", 1)

    async def read(tx: Transaction) -> dict[str, list[str]]:
        rows = await tx.connection.fetch(
            "SELECT a.end_user_id, e.idempotency_key FROM usage_events e "
            "JOIN accounts a ON a.environment_id = e.environment_id AND a.id = e.account_id "
            "ORDER BY e.accepted_at, e.occurred_at"
        )
        found: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            found[row["end_user_id"]].append(row["idempotency_key"])
        return found

    try:
        return await database.run(None, read)
    finally:
        await database.close()


async def become_known(tenant: Tenant, session: aiohttp.ClientSession) -> None:
    """Every worker meets the key, over connections of their own."""
    for _ in range(KNOWN_BY_ALL):
        answer = await tenant.edge.on(session).get("/v1/entitlements/check", end_user_id="u", feature_key="api_calls")
        assert answer.status == HTTPStatus.OK


async def subscribe(tenant: Tenant, *end_user_ids: str) -> None:
    """Customers with credit."""
    variant = await make_catalogue(tenant.core)
    for end_user_id in end_user_ids:
        body = {"end_user_id": end_user_id, "plan_variant_id": variant}
        await tenant.core.created("/v1/subscriptions", body)


@pytest.mark.timeout(240)
async def test_redis_killed_under_load_and_the_edge_beside_it(tmp_path: Path) -> None:
    """Usage goes on without Redis; the edge dies with its spool full of it; afterwards every event is posted once."""
    async with running_stack(tmp_path, EDGE_WORKERS="2") as stack, open_session() as session:
        tenant = await stack.tenant(session)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as short:
            senders = [Sender(tenant.edge.on(short), number) for number in range(CUSTOMERS)]
            await subscribe(tenant, *[sender.end_user_id for sender in senders])
            await become_known(tenant, short)
            sending = [asyncio.create_task(sender.run()) for sender in senders]

            async def have_spooled(count: int) -> bool:
                return sum(len(sender.spooled) for sender in senders) >= count

            async def have_all_stored_more(before: list[int]) -> bool:
                return all(len(s.acknowledged) - len(s.spooled) > b + 5 for s, b in zip(senders, before, strict=True))

            async def go_on() -> None:
                before = [len(s.acknowledged) - len(s.spooled) for s in senders]
                await wait_until_async(lambda: have_all_stored_more(before), SECONDS, "usage to be taken in by Redis")

            await go_on()
            for count in (100, 200):
                os.kill(stack.valkey.pid, signal.SIGKILL)
                await wait_until_async(lambda count=count: have_spooled(count), SECONDS, "usage to be spooled")
                await stack.kill("edge")
                stack.valkey.start()
                stack.start("edge")
                await go_on()
            for sender in senders:
                sender.is_done = True
            await asyncio.gather(*sending)

        expected = {sender.end_user_id: sorted(sender.acknowledged) for sender in senders}

        async def are_posted() -> bool:
            return {user: sorted(keys) for user, keys in (await posted(stack)).items()} == expected

        await wait_until_async(are_posted, SECONDS, "every acknowledged event to be posted, and no other")
        for sender in senders:
            found = await drained(tenant.core, sender.end_user_id)
            assert found["total"] == 50_000 - 2 * len(sender.acknowledged)
        report = await stack.verify()
        assert (report.findings, report.counts["events"]) == ([], sum(map(len, expected.values())))
        assert not list((tmp_path / "data" / "spool").iterdir())


@pytest.mark.timeout(180)
async def test_order_rejections_and_an_orderly_end(tmp_path: Path) -> None:
    """Spooled by one worker, kept over a stop of the edge, posted in order; what cannot be is listed, and says why."""
    async with running_stack(tmp_path, EDGE_WORKERS="1") as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant, "u")
        await become_known(tenant, session)
        os.kill(stack.valkey.pid, signal.SIGKILL)
        keys = [f"key-{number:03}" for number in range(100)]

        async def send(end_user_id: str, feature_key: str, key: str) -> Any:
            body = {"end_user_id": end_user_id, "feature_key": feature_key, "units": 1, "idempotency_key": key}
            answer = await tenant.edge.post("/v1/usage", body)
            assert (answer.status, answer.body.get("durability")) == (HTTPStatus.ACCEPTED, "spooled"), answer.body
            return answer.body["event_id"]

        for key in keys:
            await send("u", "api_calls", key)
        lost = await send("nobody", "api_calls", "lost")
        await send("nobody", "no_such", "lost")
        await stack.stop("edge")
        stack.valkey.start()
        stack.start("edge")

        async def are_posted() -> bool:
            return (await posted(stack)).get("u") == keys

        await wait_until_async(are_posted, SECONDS, "the events to be posted in their order")

        async def are_listed() -> Any:
            rows = (await tenant.core.get("/v1/usage/rejected")).body["data"]
            return rows if len(rows) == 2 else None

        for row in await wait_until_async(are_listed, SECONDS, "two events to be listed as rejected"):
            assert (row["end_user_id"], row["code"], row["status"]) == ("nobody", "unknown_customer", "rejected")
            assert (row["is_retryable"], row["cost"], row["units"]) == (False, None, 1)
        status = await tenant.core.get(f"/v1/usage/events/{lost}")
        assert (status.body["status"], status.body["code"]) == ("rejected", "unknown_customer")

        await tenant.core.created("/v1/customers", {"end_user_id": "nobody"})
        body = {"end_user_id": "nobody", "feature_key": "api_calls", "units": 1, "idempotency_key": "lost"}
        again = await tenant.edge.post("/v1/usage", body)
        assert (again.status, again.body["event_id"], again.body["cost"]) == (HTTPStatus.ACCEPTED, lost, 1)
        await drained(tenant.core, "nobody")
        rows = {row["event_id"]: row["status"] for row in (await tenant.core.get("/v1/usage/rejected")).body["data"]}
        assert sorted(rows.values()) == ["posted", "rejected"]
        assert rows[lost] == "posted"
        assert (await stack.verify()).findings == []


@pytest.mark.timeout(180)
async def test_without_core_and_flusher(tmp_path: Path) -> None:
    """A customer who is not loaded is spooled while core and the flusher are away, and posted once they are back."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant, "u", "v")
        await become_known(tenant, session)
        await stack.kill("core")
        await stack.kill("flusher")
        redis = await stack.redis()
        async for name in redis.client.scan_iter(match="{*}:acct:*:v"):
            await redis.client.delete(name)
        await redis.close()
        events = [
            {"end_user_id": end_user_id, "feature_key": "api_calls", "units": 1, "idempotency_key": f"{number}"}
            for number in range(10)
            for end_user_id in ("u", "v")
        ]
        answer = await tenant.edge.post("/v1/usage/batch", {"events": events})
        assert answer.status == HTTPStatus.ACCEPTED
        assert [result.get("durability") for result in answer.body["results"]] == [None, "spooled"] * 10
        stack.start("core", "flusher")
        await stack.ready(session)
        for end_user_id in ("u", "v"):

            async def are_posted(end_user_id: str = end_user_id) -> bool:
                found = (await posted(stack)).get(end_user_id, [])
                return sorted(found) == [f"{number}" for number in range(10)]

            await wait_until_async(are_posted, SECONDS, f"the events of {end_user_id} to be posted")
            assert (await drained(tenant.core, end_user_id))["total"] == 50_000 - 10
        assert (await stack.verify()).findings == []
