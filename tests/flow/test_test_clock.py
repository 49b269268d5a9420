"""A sandbox whose time stands still: moving it on does at once what time would have done, at the very same moments."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from app.wire import keys
from tests.flow.stack import Answer, Stack, Tenant, drained, make_catalogue, open_session, running_stack
from tests.flow.test_voids import balance
from tests.waiting import wait_until_async

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def frozen(tenant: Tenant, at: datetime | None = None) -> datetime:
    """Where the sandbox's time stands from now on."""
    answer = await tenant.core.post("/v1/test-clock/freeze", {} if at is None else {"at": at.isoformat()})
    assert answer.status == HTTPStatus.OK, answer.body
    return datetime.fromisoformat(answer.body["frozen_at"])


async def advance(tenant: Tenant, to: datetime) -> Answer:
    """Move the clock on."""
    answer = await tenant.core.post("/v1/test-clock/advance", {"to": to.isoformat()})
    assert answer.status == HTTPStatus.OK, answer.body
    return answer


async def grant(tenant: Tenant, amount: int, expires_at: datetime | None = None, **more: Any) -> None:
    """Credit of `u`."""
    expiry = {} if expires_at is None else {"expires_at": expires_at.isoformat()}
    await tenant.core.created("/v1/credits/grants", {"end_user_id": "u", "amount": amount, **expiry, **more})


async def reserve(tenant: Tenant, units: int, ttl_seconds: int) -> str:
    """A reservation of `u`; its path."""
    body = {"end_user_id": "u", "feature_key": "api_calls", "units": units, "ttl_seconds": ttl_seconds}
    return f"/v1/reservations/{(await tenant.edge.created('/v1/reservations', body))['reservation_id']}"


async def history(tenant: Tenant, begun_at: datetime) -> list[tuple[str, float, timedelta]]:
    """(kind, what it changed of the total, how long after the beginning) of `u`'s entries, the oldest first."""
    entries = (await tenant.core.get("/v1/customers/u/ledger")).body["data"]
    return [
        (
            entry["kind"],
            entry["total_after"] - entry["total_before"],
            datetime.fromisoformat(entry["posted_at"]) - begun_at,
        )
        for entry in reversed(entries)
    ]


async def begin(tenant: Tenant) -> datetime:
    """`u` on a clock, with two reservations: credit that expires comes back to its block in time, or too late."""
    await make_catalogue(tenant.core)
    begun_at = await frozen(tenant)
    await tenant.core.created("/v1/customers", {"end_user_id": "u"})
    await grant(tenant, 100, begun_at + 2 * HOUR)
    await grant(tenant, 50)
    await grant(tenant, 25, effective_at=(begun_at + 3 * DAY).isoformat())
    await reserve(tenant, 30, 3600)
    await reserve(tenant, 20, 3 * 3600)
    return begun_at


EXPECTED = [
    ("grant", 100, timedelta(0)),
    ("grant", 50, timedelta(0)),
    ("reservation_opened", -30, timedelta(0)),
    ("reservation_opened", -20, timedelta(0)),
    ("reservation_expired", 30, HOUR),
    ("expiry", -80, 2 * HOUR),
    ("reservation_expired", 0, 3 * HOUR),
    ("grant", 25, 3 * DAY),
]


@pytest.mark.parametrize("steps", [(7 * DAY,), (HOUR, 2 * HOUR, 2 * HOUR, 3 * HOUR, 90 * HOUR, 7 * DAY)])
async def test_time_passes_as_if_it_had(stack: Stack, tenant: Tenant, steps: tuple[timedelta, ...]) -> None:
    """In one step or in many, all is posted at the moment at which it fell due, and known when it is answered."""
    begun_at = await begin(tenant)
    assert await balance(tenant, "u") == 100
    for step in steps:
        assert (await advance(tenant, begun_at + step)).body["frozen_at"] == (begun_at + step).isoformat().replace(
            "+00:00", "Z"
        )
    assert await balance(tenant, "u") == 75
    assert_as_expected(await history(tenant, begun_at))
    spend = {"end_user_id": "u", "feature_key": "api_calls", "units": 76, "enforce": True}
    refused = await tenant.edge.post("/v1/usage", spend)
    assert (refused.status, refused.body["code"]) == (HTTPStatus.PAYMENT_REQUIRED, "insufficient_credits")
    assert (await stack.verify()).findings == []


def assert_as_expected(found: list[tuple[str, float, timedelta]]) -> None:
    """To the moment, but for the microsecond by which a reservation is dated after what was decided before it."""
    assert [(kind, change) for kind, change, _ in found] == [(kind, change) for kind, change, _ in EXPECTED]
    late = [at - expected for (*_, at), (*_, expected) in zip(found, EXPECTED, strict=True)]
    assert timedelta(0) <= min(late) <= max(late) < timedelta(milliseconds=1), found


async def test_a_clock_outlives_what_redis_remembers(tmp_path: Path) -> None:
    """Whatever is in Redis when the clock is moved on: what falls due is brought there first, with its clock."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        begun_at = await begin(tenant)
        await drained(tenant.core, "u")
        redis = await stack.redis()
        await redis.client.flushall()
        await redis.close()
        await advance(tenant, begun_at + 7 * DAY)
        assert_as_expected(await history(tenant, begun_at))
        assert await balance(tenant, "u") == 75
        assert (await stack.verify()).findings == []


async def test_frozen_at_a_later_moment(stack: Stack, tenant: Tenant) -> None:
    """On the way there all happens as if time had passed, also at accounts that are not in Redis when it is frozen."""
    await make_catalogue(tenant.core)
    await tenant.core.created("/v1/customers", {"end_user_id": "u"})
    begun_at = datetime.now(UTC)
    await grant(tenant, 100, begun_at + 2 * HOUR)
    await grant(tenant, 50)
    await grant(tenant, 25, effective_at=(begun_at + 3 * DAY).isoformat())
    await reserve(tenant, 30, 3600)
    await reserve(tenant, 20, 3 * 3600)
    await drained(tenant.core, "u")
    redis = await stack.redis()
    ref = keys.account_ref(keys.environment_ref(tenant.environment_id), "u")
    assert await redis.client.delete(keys.account(redis.partition(ref), ref)) == 1
    await redis.close()
    assert await frozen(tenant, begun_at + 7 * DAY) == begun_at + 7 * DAY
    found = await history(tenant, begun_at)
    assert [(kind, change) for kind, change, _ in found] == [(kind, change) for kind, change, _ in EXPECTED]
    for (_, _, at), (_, _, expected) in zip(found, EXPECTED, strict=True):
        assert timedelta(0) <= at - expected < timedelta(minutes=5), found
    assert await balance(tenant, "u") == 75
    assert (await stack.verify()).findings == []


Told = tuple[list[tuple[str, float, timedelta]], Any]
"""What the ledger and the history of subscriptions have."""


async def half_a_year(
    tenant: Tenant, begun_at: datetime, days: int, go_to: Callable[[Tenant, datetime], Awaitable[object]] = advance
) -> Told:
    """What the ledger and the history of two subscriptions have after steps of so many days.

    `u` is billed afterwards and goes on by itself; `p` pays beforehand, and does not.
    """
    await make_catalogue(tenant.core)
    grants = [{"amount": 70, "interval": "month"}, {"amount": 7, "interval": "week"}]
    terms = {"interval": "month", "grants": grants, "features": [{"feature_key": "api_calls"}]}
    await frozen(tenant, begun_at)
    made: list[str] = []
    for end_user_id, mode in (("u", "postpaid"), ("p", "prepaid")):
        variant = {"key": mode, "billing_mode": mode, **terms}
        made_variant = await tenant.core.created("/v1/plans/pro/variants", variant)
        body = {"end_user_id": end_user_id, "plan_variant_id": made_variant["plan_variant_id"]}
        made.append((await tenant.core.created("/v1/subscriptions", body))["subscription_id"])
    for day in range(days, 181, days):
        await go_to(tenant, begun_at + day * DAY)
    changes = (await tenant.core.get(f"/v1/subscriptions/{made[1]}/history")).body["data"]
    return await history(tenant, begun_at), [(change["at"], change["state_after"]) for change in changes]


async def test_subscriptions_go_on_as_if_time_had_passed(stack: Stack, session: aiohttp.ClientSession) -> None:
    """Renewals and grants come at their moments in one step as in eighteen; who has not paid is overdue, then out."""
    begun_at = datetime.now(UTC).replace(microsecond=0) + DAY
    at_once = await half_a_year(await stack.tenant(session), begun_at, 180)
    assert await half_a_year(await stack.tenant(session), begun_at, 10) == at_once
    entries, changes = at_once
    months = [at for kind, change, at in entries if (kind, change) == ("grant", 70)]
    weeks = [at for kind, change, at in entries if (kind, change) == ("grant", 7)]
    assert (len(months), weeks) == (6, [number * 7 * DAY for number in range(26)])
    assert [state for _, state in changes] == ["expired", "overdue", "active"]
    out, overdue, _ = (datetime.fromisoformat(at) for at, _ in changes)
    assert (overdue, out - overdue) == (begun_at + months[1], 3 * DAY)


@pytest.mark.timeout(180)
async def test_whatever_is_killed_on_the_way(tmp_path: Path) -> None:
    """52: core and flusher die as it goes, and Redis loses its memory: asked for again, it comes to the same."""
    begun_at = datetime.now(UTC).replace(microsecond=0) + DAY
    async with running_stack(tmp_path) as stack, open_session() as session:
        undisturbed = await half_a_year(await stack.tenant(session), begun_at, 180)
        killing = Killing(stack, session)
        assert await half_a_year(await stack.tenant(session), begun_at, 180, killing.go_to) == undisturbed
        assert {*killing.killed} == {"core", "redis", "flusher"}
        assert (await stack.verify()).findings == []


class Killing:
    """Moves a clock on, and kills a process each time that it has come a step further."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession) -> None:
        self._stack, self._session = stack, session
        self.killed: list[str] = []

    async def go_to(self, tenant: Tenant, to: datetime) -> None:
        """By one request under one key, until it is answered."""
        connection = await asyncpg.connect(self._stack.stores.database_url)
        try:
            seen_at = await _stands_at(connection, tenant)
            asked = asyncio.create_task(self._ask(tenant, {"by_seconds": int((to - seen_at).total_seconds())}))

            async def goes_on() -> bool:
                return asked.done() or await _stands_at(connection, tenant) > seen_at

            for victim in cycle(("core", "redis", "flusher")):
                await wait_until_async(goes_on, 30, "the clock to go on")
                if asked.done():
                    break
                seen_at = await _stands_at(connection, tenant)
                await self._kill(victim)
        finally:
            await connection.close()
        assert datetime.fromisoformat((await asked).body["frozen_at"]) == to

    async def _ask(self, tenant: Tenant, body: dict[str, int]) -> Answer:
        while True:
            try:
                answer = await tenant.core.post("/v1/test-clock/advance", body, Idempotency_Key="one way")
            except aiohttp.ClientError:
                await self._stack.ready(self._session)
                continue
            if answer.status == HTTPStatus.OK:
                return answer
            assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE, answer.body

    async def _kill(self, victim: str) -> None:
        self.killed.append(victim)
        if victim == "redis":
            redis = await self._stack.redis()
            await redis.client.flushall()
            await redis.close()
            return
        await self._stack.kill(victim)
        self._stack.start(victim)
        await self._stack.ready(self._session)


async def _stands_at(connection: asyncpg.Connection, tenant: Tenant) -> datetime:
    statement = "SELECT frozen_at FROM test_clocks WHERE environment_id = $1"
    return await connection.fetchval(statement, tenant.environment_id)


async def test_usage_is_dated_by_the_clock(tenant: Tenant) -> None:
    """Through core and edge alike, and the answer to a key that is asked again stays what it was."""
    begun_at = await begin(tenant)
    await advance(tenant, begun_at + 400 * DAY)
    spend = {"end_user_id": "u", "feature_key": "api_calls", "units": 5, "idempotency_key": "once"}
    answers = [await client.post("/v1/usage", spend) for client in (tenant.core, tenant.edge)]
    assert [answer.status for answer in answers] == [HTTPStatus.ACCEPTED] * 2
    assert answers[0].raw == answers[1].raw
    await grant(tenant, 7)
    await advance(tenant, begun_at + 401 * DAY)
    *_, used, granted = await history(tenant, begun_at)
    assert {used[:2], granted[:2]} == {("usage", -5), ("grant", 7)}
    assert {used[2], granted[2]} == {400 * DAY}


async def test_nothing_happens_while_a_clock_stands_still(tenant: Tenant) -> None:
    """A block and a reservation outlive their time by the machines' clock, whoever looks."""
    await make_catalogue(tenant.core)
    begun_at = await frozen(tenant)
    await tenant.core.created("/v1/customers", {"end_user_id": "u"})
    await grant(tenant, 100, begun_at + timedelta(milliseconds=500))
    path = await reserve(tenant, 30, 1)
    await asyncio.gather(*(balance(tenant, "u") for _ in range(5)))
    shown = (await tenant.edge.get(path)).body
    due_at = datetime.fromisoformat(shown["expires_at"])

    async def is_past() -> bool:
        return datetime.now(due_at.tzinfo) > due_at + timedelta(seconds=1.5)

    await wait_until_async(is_past, 10, "the machines' clock to be past it")
    assert (await tenant.edge.get(path)).body == shown
    assert await balance(tenant, "u") == 70
    committed = await tenant.edge.post(f"{path}/commit", {"units": 10})
    assert (committed.status, committed.body["charged"], committed.body["late"]) == (HTTPStatus.OK, 10, False)


async def test_others_are_not_held_up(stack: Stack, session: aiohttp.ClientSession) -> None:
    """While the time of one sandbox stands still, that of another goes on, though its reservations lie beside them."""
    one, other = [await stack.tenant(session) for _ in range(2)]
    await begin(one)
    await make_catalogue(other.core)
    await other.core.created("/v1/customers", {"end_user_id": "u"})
    await grant(other, 100)
    path = await reserve(other, 30, 1)

    async def is_expired() -> bool:
        return (await other.edge.get(path)).body["state"] == "expired"

    await wait_until_async(is_expired, 10, "the reservation to expire")
    assert await balance(one, "u") == 100
