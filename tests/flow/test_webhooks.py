"""Webhooks through all processes: whoever is killed and however receivers fail, each event arrives, in its order."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from loadtests.receiver import Behaviour, Ending, Endpoint, Received
from loadtests.receiving import RunningReceiver, running_receiver
from tests.flow.stack import Stack, Tenant, open_session, running_stack
from tests.waiting import wait_until_async

SEED = 20_261_127
CUSTOMERS, GRANTS = 8, 24
KILLS = 6
JOBS = ("jobs", "jobs_2")
ENDPOINTS = ("/steady", "/flaky", "/slow")
FAILURES = (
    Behaviour(500, times=3),
    Behaviour(503, retry_after="1", times=3),
    Behaviour(302, times=2),
    Behaviour(ending=Ending.CUT, times=3),
    Behaviour(delay_seconds=0.2, times=20),
)
LEASE_SECONDS = 60
"""What a process that was killed had taken, nobody takes for as long."""


class Webhooks:
    """A tenant whose endpoints are at a receiver. `connection` is the owner's, to make time pass."""

    def __init__(self, receiver: RunningReceiver, connection: "asyncpg.Connection[Any]", tenant: Tenant) -> None:
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

        await wait_until_async(nothing_waits, seconds, "all events to be delivered")

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


def came(path: str, sequence: int, status: int = 200, name: str | None = None) -> Received:
    """A delivery of an event of the one customer there is."""
    return Received(
        path, name or f"evt_{sequence}", "user_1", sequence, "credits.granted", 2, 1, status, is_genuine=True
    )


def told_event(sequence: int) -> dict[str, object]:
    """Its event in the feed."""
    return {"event_id": f"evt_{sequence}", "end_user_id": "user_1", "sequence": sequence, "type": "credits.granted"}


@pytest.mark.parametrize(
    "wrong",
    [
        [came("/steady", 1)],
        [came("/steady", 2)],
        [came("/steady", 1, 500), came("/steady", 2)],
        [came("/steady", 1, 0), came("/steady", 2)],
        [came("/steady", 1), came("/steady", 2), came("/steady", 1)],
        [came("/steady", 1), came("/steady", 2, name="evt_1")],
        [came("/steady", 1), came("/steady", 2, 500)],
    ],
    ids=["lost", "first lost", "overtaken", "unanswered", "back again", "another id", "not taken"],
)
def test_the_judge_sees_what_is_wrong(wrong: Sequence[Received]) -> None:
    """Everything that the law below forbids is found, and what it allows is not."""
    told = [told_event(1), told_event(2)]
    right = [came("/steady", 1, 500), came("/steady", 1), came("/steady", 1), came("/steady", 2, 0), came("/steady", 2)]
    others = [came(path, sequence) for path in ENDPOINTS[1:] for sequence in (1, 2)]
    require_in_order([*others, *right], told)
    for bad_received, bad_told in (([*others, *wrong], told), ([*others, *right], told[::-1])):
        with pytest.raises(AssertionError):
            require_in_order(bad_received, bad_told)


@asynccontextmanager
async def running_webhooks(directory: Path) -> AsyncIterator[tuple[Stack, Webhooks]]:
    """All processes, two of them jobs, and endpoints of a tenant at a receiver."""
    with running_receiver(directory) as receiver:
        async with running_stack(directory) as stack, open_session() as session:
            stack.add("jobs", JOBS[1])
            stack.start(JOBS[1])
            connection = await asyncpg.connect(stack.stores.database_url)
            try:
                webhooks = Webhooks(receiver, connection, await stack.tenant(session))
                await webhooks.listen()
                yield stack, webhooks
            finally:
                await connection.close()


@pytest.mark.timeout(300)
async def test_every_event_arrives_in_order_whoever_is_killed(tmp_path: Path) -> None:
    """Two jobs processes, killed by turns while endpoints fail: nothing is lost, and nothing overtakes."""
    randomness = Random(SEED)
    async with running_webhooks(tmp_path) as (stack, webhooks):
        for number in range(KILLS):
            webhooks.behave("/steady", Behaviour())
            if number == KILLS // 2:
                await webhooks.rotate("/steady")
            webhooks.behave("/flaky", randomness.choice(FAILURES))
            webhooks.behave("/slow", Behaviour(delay_seconds=randomness.random()))
            before = len(webhooks.received())
            for _ in range(GRANTS // KILLS):
                await webhooks.happen(randomness)
            await webhooks.hurry()

            async def is_sending(before: int = before) -> bool:
                return len(webhooks.received()) > before + randomness.randrange(20)

            await wait_until_async(is_sending, LEASE_SECONDS + 30, "events to be sent")
            name = randomness.choice(JOBS)
            await stack.kill(name)
            stack.start(name)
        webhooks.behave("/slow", Behaviour())
        await webhooks.all_told(LEASE_SECONDS + 60)
        require_in_order(webhooks.received(), await webhooks.told())


_NOTHING_WAITS = """
SELECT NOT EXISTS (SELECT FROM outbox WHERE position IS NULL)
   AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE state <> 'delivered')
"""
