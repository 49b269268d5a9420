"""Customers whom core made and did not come to enrol: they are put on the free plan, once, and nobody else is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs import enrol
from app.jobs.enrol import COMMIT_LAG, GRACE, REACH, EnrolmentSweeper, NotEnrolled, Window
from app.orders.service import Orders
from app.orders.store import CarriedOut
from app.subscriptions.enrolling import Enroller
from app.wire import keys
from app.wire.ids import parse
from app.wire.orders import Order
from tests.app.core import Client, Core, Tenant, open_flusher
from tests.app.subscriptions.test_enrolling import look_for, want_enrolment
from tests.conftest import DatabaseUrls
from tests.waiting import wait_until_async

SECOND = timedelta(seconds=1)
SOON = GRACE + SECOND


class CoreDied(Exception):
    """Core ends here."""


class DyingOrders(Orders):
    """Core that dies before it gives an order."""

    async def give(self, environment_id: UUID, end_user_id: str, order: Order) -> CarriedOut:
        """Nothing."""
        raise CoreDied(environment_id, end_user_id, order)


class MovableClock(Clock):
    """Goes ahead of the real time."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        """Where it stands."""
        return datetime.now(UTC) + self.ahead


class Jobs:
    """The sweep, as often and as late as a test wants it."""

    def __init__(self, core: Core, database: Database) -> None:
        self._clock = MovableClock()
        self._sweeper = EnrolmentSweeper(database, core.parts.redis, self._clock)

    async def round(self, ahead: timedelta = SOON) -> int:
        """A round so much later than now; how many orders it has given."""
        self._clock.ahead = ahead
        return await self._sweeper.round(asyncio.Event())


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """Postgres as jobs sees it."""
    opened = await Database.open(urls.of("quotastack_jobs"), "jobs", 4)
    yield opened
    await opened.close()


@pytest.fixture
def jobs(core: Core, database: Database) -> Jobs:
    """One process."""
    return Jobs(core, database)


async def leave_out(core: Core, environment_id: UUID, end_user_id: str = "u") -> None:
    """Core makes the customer, and dies."""
    orders = DyingOrders(core.parts.database, core.parts.redis, core.parts.clock, None)  # type: ignore[arg-type]
    with pytest.raises(CoreDied):
        await Enroller(core.parts.database, orders, core.parts.clock).enroll(environment_id, end_user_id)


async def change(client: Client, **changes: Any) -> None:
    """Set something for the environment."""
    answer = await client.send("PATCH", "/v1/environment", json=changes)
    assert answer.status_code == 200, answer.text


async def subscriptions(client: Client, count: int) -> list[dict[str, Any]]:
    """All subscriptions of an environment, once there are so many."""

    async def read() -> list[dict[str, Any]] | None:
        listed = (await client.read("/v1/subscriptions"))["data"]
        return listed if len(listed) >= count else None

    return await wait_until_async(read, 10, f"{count} subscriptions")


async def count_orders(core: Core, environment_id: UUID, end_user_id: str = "u") -> int:
    """How many orders for the customer are in the stream."""
    ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
    entries = await core.parts.redis.client.xrange(keys.stream(core.parts.redis.partition(ref)))
    return sum(fields[b"a"] == ref and fields[b"k"] == b"o" for _, fields in entries)


@pytest.mark.usefixtures("flusher")
@pytest.mark.parametrize("is_loaded", [False, True])
async def test_whoever_was_left_out_is_enrolled(core: Core, tenant: Tenant, jobs: Jobs, *, is_loaded: bool) -> None:
    """As core would have, whether edges know the customer or not; then there is nothing left to do."""
    await want_enrolment(tenant)
    await leave_out(core, tenant.environment_id)
    if is_loaded:
        assert await look_for(core, tenant, "u") == "loaded"
    assert (await tenant.sandbox.read("/v1/subscriptions"))["data"] == []
    assert await jobs.round() == 1
    [made] = await subscriptions(tenant.sandbox, 1)
    assert (made["end_user_id"], made["plan_key"], made["state"]) == ("u", "free", "active")
    [happened] = (await tenant.sandbox.read(f"/v1/subscriptions/{made['subscription_id']}/history"))["data"]
    assert (happened["action"], happened["actor"]) == ("create", "auto_enroll")
    assert (await tenant.sandbox.read("/v1/customers/u/credits"))["total"] == 10
    assert await jobs.round() == 0


@pytest.mark.usefixtures("flusher")
async def test_several_sweeps_and_core_enrol_once(core: Core, tenant: Tenant, database: Database) -> None:
    """At the same time: an order has one effect, whoever gives it."""
    await want_enrolment(tenant)
    await leave_out(core, tenant.environment_id)
    enroller = Enroller(core.parts.database, core.parts.orders, core.parts.clock)
    sweeps = [Jobs(core, database).round() for _ in range(4)]
    await asyncio.gather(*sweeps, enroller.enroll(tenant.environment_id, "u"))
    again = Enroller(core.parts.database, core.parts.orders, core.parts.clock)
    assert await again.enroll(tenant.environment_id, "u")
    [made] = await subscriptions(tenant.sandbox, 1)
    assert made["plan_key"] == "free"
    assert (await tenant.sandbox.read("/v1/customers/u/credits"))["total"] == 10


async def test_without_a_flusher_orders_do_not_pile_up(
    core: Core, tenant: Tenant, jobs: Jobs, urls: DatabaseUrls
) -> None:
    """One waits in the stream, however many rounds there are; whose account cannot be loaded waits for its turn."""
    async with open_flusher(urls, core):
        await want_enrolment(tenant)
        await leave_out(core, tenant.environment_id)
        await leave_out(core, tenant.environment_id, "not loaded")
        assert await look_for(core, tenant, "u") == "loaded"
    given = [await jobs.round() for _ in range(3)]
    assert sum(given) >= 1
    assert given[1:] == [0, 0]
    assert await count_orders(core, tenant.environment_id) == 1
    async with open_flusher(urls, core):
        await subscriptions(tenant.sandbox, 1)

        async def both() -> list[dict[str, Any]] | None:
            await jobs.round()
            listed = await subscriptions(tenant.sandbox, 1)
            return listed if len(listed) > 1 else None

        listed = await wait_until_async(both, 20, "the other to be enrolled")
    assert sorted(made["end_user_id"] for made in listed) == ["not loaded", "u"]


@pytest.mark.usefixtures("flusher")
async def test_after_a_week_in_which_nothing_ran(core: Core, tenant: Tenant, jobs: Jobs) -> None:
    """52: who was left out before it is enrolled after it."""
    await want_enrolment(tenant)
    await leave_out(core, tenant.environment_id)
    assert await jobs.round(timedelta(days=7)) == 1
    assert len(await subscriptions(tenant.sandbox, 1)) == 1


@pytest.mark.usefixtures("flusher")
async def test_nobody_else_is_enrolled(core: Core, tenant: Tenant, jobs: Jobs) -> None:
    """Who was known before the environment enrolled anybody, was made long ago, or is not to be enrolled any more."""
    await want_enrolment(tenant, auto_enroll=False)
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "known before"})
    assert await jobs.round() == 0
    await change(tenant.sandbox, auto_enroll=True)
    assert await jobs.round() == 0
    await leave_out(core, tenant.environment_id)
    assert await jobs.round(timedelta(0)) == 0  # core may be about to
    assert await jobs.round(REACH + SOON + SECOND) == 0
    await change(tenant.sandbox, auto_enroll=False)
    assert await jobs.round() == 0
    await change(tenant.sandbox, auto_enroll=True)
    assert await jobs.round() == 0
    assert (await tenant.sandbox.read("/v1/subscriptions"))["data"] == []


@pytest.mark.usefixtures("flusher")
async def test_other_settings_leave_nobody_out(core: Core, tenant: Tenant, jobs: Jobs) -> None:
    """Since when an environment enrols is not changed by what else is set."""
    await want_enrolment(tenant)
    await leave_out(core, tenant.environment_id)
    await change(tenant.sandbox, thresholds=[{"credits": 5}])
    assert await jobs.round() == 1


@pytest.mark.usefixtures("flusher")
async def test_who_has_left_stays_away(tenant: Tenant, jobs: Jobs) -> None:
    """A subscription that has ended is one that the customer had."""
    await want_enrolment(tenant)
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    [made] = await subscriptions(tenant.sandbox, 1)
    path = f"/v1/subscriptions/{made['subscription_id']}/cancel"
    answer = await tenant.sandbox.post(path, {"at": "now"})
    assert (answer.status_code, answer.json()["state"]) == (200, "canceled"), answer.text
    assert await jobs.round() == 0


@pytest.mark.usefixtures("flusher")
async def test_all_pages_are_looked_through(
    core: Core, tenant: Tenant, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all environments, those of one page in pages too."""
    monkeypatch.setattr(enrol, "PAGE", 2)
    names = [f"user_{number}" for number in range(5)]
    for client, kind in ((tenant.sandbox, "sandbox"), (tenant.live, "live")):
        await want_enrolment(Tenant(client, client, tenant.made))
        for name in names:
            await leave_out(core, parse("env", tenant.made[f"{kind}_environment_id"]), name)
    for environments in (2, 1):
        monkeypatch.setattr(enrol, "ENVIRONMENTS", environments)
        assert await jobs.round() == (2 * len(names) if environments == 2 else 0)
        for client in (tenant.sandbox, tenant.live):
            listed = await subscriptions(client, len(names))
            assert sorted(made["end_user_id"] for made in listed) == names


def test_the_next_page_is_behind_the_last_one() -> None:
    """Nobody comes twice where nothing is posted meanwhile; windows of other environments stay as they are."""
    window, last = (
        Window(UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=9)),
        NotEnrolled(UUID(int=1), UUID(int=5), "u"),
    )
    assert window.after(last) == Window(UUID(int=1), UUID(int=2), UUID(int=6), UUID(int=9))
    assert replace(window, environment_id=UUID(int=7)).after(last).first_id == UUID(int=3)


@pytest.mark.usefixtures("flusher")
async def test_who_is_seen_late_is_not_passed_over(core: Core, tenant: Tenant, jobs: Jobs) -> None:
    """A transaction that began before a round that found nobody may end after it."""
    await want_enrolment(tenant)
    assert await jobs.round(COMMIT_LAG) == 0
    await leave_out(core, tenant.environment_id)
    assert await jobs.round(COMMIT_LAG) == 1


@pytest.mark.usefixtures("flusher")
async def test_a_clock_that_stands_still_is_gone_by(core: Core, tenant: Tenant, jobs: Jobs) -> None:
    """Whatever the real time; and what is long ago is so by that clock."""
    answer = await tenant.sandbox.post("/v1/test-clock/freeze", {})
    frozen_at = datetime.fromisoformat(answer.json()["frozen_at"])
    await want_enrolment(tenant)
    await leave_out(core, tenant.environment_id)
    assert await jobs.round(9 * REACH) == 1
    [made] = await subscriptions(tenant.sandbox, 1)
    assert datetime.fromisoformat(made["created_at"]) == frozen_at
    await leave_out(core, tenant.environment_id, "next")
    assert await jobs.round(timedelta(0)) == 1
    await subscriptions(tenant.sandbox, 2)
    await leave_out(core, tenant.environment_id, "later")
    answer = await tenant.sandbox.post("/v1/test-clock/advance", {"by_seconds": int((REACH + SOON).total_seconds())})
    assert answer.status_code == 200, answer.text
    assert await jobs.round(timedelta(0)) == 0
