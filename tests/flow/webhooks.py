"""Endpoints of a tenant at a receiver, through the whole product; and the law of what has to come to them."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from random import Random
from typing import Any

import asyncpg

from loadtests.receiver import Behaviour, Endpoint, Received
from loadtests.receiving import RunningReceiver
from tests.flow.stack import Tenant
from tests.waiting import wait_until_async

CUSTOMERS = 8
ENDPOINTS = ("/steady", "/flaky", "/slow")


class Webhooks:
    """A tenant whose endpoints are at a receiver. `connection` is the owner's, to make time pass."""

    def __init__(self, receiver: RunningReceiver, connection: asyncpg.Connection, tenant: Tenant) -> None:
        self._receiver, self._connection, self._core = receiver, connection, tenant.core
        self._endpoint_ids: dict[str, str] = {}
        self._secrets: dict[str, str] = {}

    async def listen(self) -> None:
        """Have endpoints that hear of everything, and customers."""
        for path in ENDPOINTS:
            made = await self._core.created("/v1/webhook-endpoints", {"url": self._receiver.url(path)})
            self._endpoint_ids[path], self._secrets[path] = made["webhook_endpoint_id"], made["secret"]
            self.behave(path, Behaviour())
        for number in range(CUSTOMERS):
            await self._core.created("/v1/customers", {"end_user_id": f"user_{number}"})

    def behave(self, path: str, behaviour: Behaviour) -> None:
        """Have an endpoint behave so from now on."""
        self._receiver.tell({path: Endpoint([self._secrets[path]], behaviour)})

    async def rotate(self, path: str) -> None:
        """Give an endpoint a new secret; whoever keeps its receiver learns of it with the next `behave`."""
        rotation = f"/v1/webhook-endpoints/{self._endpoint_ids[path]}/rotate-secret"
        answer = await self._core.post(rotation, {})
        assert answer.status == HTTPStatus.OK, answer.body
        self._secrets[path] = answer.body["secret"]

    async def happen(self, randomness: Random) -> None:
        """Something happens to every customer, side by side."""
        bodies = [{"end_user_id": f"user_{number}", "amount": randomness.randint(1, 9)} for number in range(CUSTOMERS)]
        await asyncio.gather(*[self._core.created("/v1/credits/grants", body) for body in bodies])

    async def hurry(self) -> None:
        """What waits for its next attempt is due: the schedule is for others to prove."""
        await self._connection.execute(
            "UPDATE webhook_queues SET due_at = now() WHERE claim IS NULL AND due_at > now()"
        )

    async def told(self) -> list[Any]:
        """The whole feed."""
        events: list[Any] = []
        page: Any = {"next_cursor": None, "has_more": True}
        while page["has_more"]:
            cursor = {} if page["next_cursor"] is None else {"cursor": page["next_cursor"]}
            page = (await self._core.get("/v1/events", limit=50, **cursor)).body
            events += page["data"]
        return events

    async def all_told(self, seconds: float) -> None:
        """Wait until nothing waits, while what failed is tried again and again."""

        async def nothing_waits() -> bool:
            await self.hurry()
            return await self._connection.fetchval(_NOTHING_WAITS)

        try:
            await wait_until_async(nothing_waits, seconds, "all events to be delivered")
        except AssertionError as error:
            for row in await self._connection.fetch(_WHAT_WAITS):
                error.add_note(row[0])
            raise

    def received(self) -> list[Received]:
        """All that came to the receiver."""
        return self._receiver.received()


def require_in_order(received: Sequence[Received], told: Sequence[Any]) -> None:
    """At each endpoint every event arrived, under its own id, and never one before all those of its customer were."""
    last: dict[str | None, int] = defaultdict(int)
    for event in told:
        assert event["sequence"] == last[event["end_user_id"]] + 1, "the feed has a customer's events in their order"
        last[event["end_user_id"]] += 1
    events = {event["event_id"]: (event["end_user_id"], event["sequence"], event["type"]) for event in told}
    taken: dict[tuple[str, str | None], int] = defaultdict(int)
    for each in received:
        assert events[each.id] == (each.end_user_id, each.sequence, each.type), "an id stands for one event"
        assert each.is_genuine
        before = taken[each.path, each.end_user_id]
        assert each.sequence in {before, before + 1}, f"{each} came when {before} was the last that was taken"
        if each.status // 100 == 2:
            taken[each.path, each.end_user_id] = each.sequence
    assert taken == {(path, whose): sequence for path in ENDPOINTS for whose, sequence in last.items()}


_NOTHING_WAITS = """
SELECT NOT EXISTS (SELECT FROM outbox WHERE position IS NULL)
   AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE state <> 'delivered')
"""
_WHAT_WAITS = """
SELECT to_jsonb(o)::text FROM outbox o WHERE position IS NULL
UNION ALL SELECT to_jsonb(d)::text FROM webhook_deliveries d WHERE state <> 'delivered'
UNION ALL SELECT to_jsonb(q)::text FROM webhook_queues q
UNION ALL SELECT to_jsonb(a)::text FROM pg_stat_activity a WHERE state <> 'idle'
"""
