"""A customer on a test clock: the edge goes by that clock for prices, timestamps and reservations, and by no other."""

from typing import Any
from uuid import UUID

import pytest

from app.rules.credits import MICRO
from app.rules.moments import to_rfc3339
from app.rules.pricing import PerUnitPrice, PriceVersion, Rate
from app.wire import keys
from app.wire.snapshot import FeatureTerms
from tests.edge.world import Tenant, now_at

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECOND = MICRO
DAY = 86_400 * SECOND
FIRST, SECOND_PRICE = UUID(int=21), UUID(int=22)


def dearer_at(moment: int) -> FeatureTerms:
    """1 credit a unit, and 5 from a moment on."""
    versions = [
        PriceVersion(0, FIRST, PerUnitPrice(MICRO)),
        PriceVersion(moment, SECOND_PRICE, PerUnitPrice(5 * MICRO)),
    ]
    return FeatureTerms([Rate(versions)], included=True)


@pytest.mark.parametrize(("frozen_days", "dearer_days", "cost"), [(0, -1, 5), (-3, -1, 1), (3, 1, 5), (3, 5, 1)])
async def test_prices_hold_by_the_clock(tenant: Tenant, frozen_days: int, dearer_days: int, cost: int) -> None:
    """Check, usage and reservation cost what holds where the clock stands, in the past as in the future."""
    now = now_at()
    plan = tenant.plan(api_calls=dearer_at(now + dearer_days * DAY))
    frozen_at = now + frozen_days * DAY
    await tenant.seed("user", plan=plan, frozen=frozen_at)
    assert (await tenant.use("user", units=1)).body["cost"] == cost
    assert (await tenant.check("user")).body["cost"] == cost
    assert (await tenant.reserve("user", units=1)).body["reserved"] == cost
    listed = await tenant.send("GET", "/v1/entitlements?end_user_id=user")
    assert listed.body["features"]["api_calls"]["cost"] == cost
    assert [int(entry[b"t"]) - frozen_at for entry in await tenant.entries("user")] == [0, 1]


async def test_a_clock_that_moves_is_followed(tenant: Tenant) -> None:
    """What a worker has seen of a clock is not believed when it stands elsewhere by then."""
    now = now_at()
    plan = tenant.plan(api_calls=dearer_at(now + DAY))
    await tenant.seed("user", plan=plan)
    assert (await tenant.use("user", units=1)).body["cost"] == 1
    for day, cost in ((0, 1), (1, 5), (2, 5)):
        await tenant.world.redis.hset(tenant.account_key("user"), "frozen", now + day * DAY)
        assert (await tenant.use("user", units=1)).body["cost"] == cost
    assert (await tenant.account("user"))["last_at"] == str(now + 2 * DAY)


async def test_timestamps_lie_about_the_clock(tenant: Tenant) -> None:
    """A timestamp is refused by the customer's clock: what is far off for us is now for the customer."""
    frozen_at = now_at() + 400 * DAY
    await tenant.seed("user", frozen=frozen_at)
    there, here = to_rfc3339(frozen_at - SECOND), to_rfc3339(now_at())
    assert (await tenant.use("user", units=1, timestamp=there)).status == 202
    refused = (await tenant.use("user", units=1, timestamp=here)).body
    assert refused["code"] == "timestamp_out_of_range"
    assert f"now ({to_rfc3339(frozen_at)} by this sandbox's test clock)" in refused["detail"]
    await tenant.world.redis.hset(tenant.account_key("user"), "frozen", frozen_at + DAY)
    assert (await tenant.use("user", units=1, timestamp=there)).body["code"] == "timestamp_out_of_range"


async def test_reservations_fall_due_by_the_clock(tenant: Tenant) -> None:
    """One that our clock has left behind is open as long as the customer's clock stands before its end."""
    frozen_at = now_at() - 30 * DAY
    await tenant.seed("user", frozen=frozen_at)
    opened = (await tenant.reserve("user", units=7, ttl_seconds=60)).body
    assert opened["expires_at"] == to_rfc3339(frozen_at + 60 * SECOND)
    name = opened["reservation_id"]
    assert (await tenant.show(name)).body["state"] == "open"
    await tenant.world.redis.hset(tenant.account_key("user"), "frozen", frozen_at + 61 * SECOND)
    assert (await tenant.show(name)).body["state"] == "expired"
    assert (await tenant.change(name, "extend", ttl_seconds=60)).body["code"] == "reservation_ended"
    assert [int(entry[b"t"]) - frozen_at for entry in await tenant.entries("user")] == [0, 61 * SECOND]


async def test_what_was_opened_before_is_kept_apart(tenant: Tenant) -> None:
    """A reservation from before its customer's clock stood still is not named for ever as past due to others."""
    await tenant.seed("user")
    opened: dict[str, Any] = (await tenant.reserve("user", units=7, ttl_seconds=1)).body
    key = tenant.reservation_key(opened["reservation_id"])
    moment = now_at() - DAY
    due, partition = moment + DAY // 2, tenant.partition("user")
    await tenant.world.redis.hset(tenant.account_key("user"), mapping={"frozen": moment, "last_at": moment})
    await tenant.world.redis.hset(key, "due", due)
    members = await tenant.world.redis.zrange(keys.due(partition), 0, -1)
    member = next(found for found in members if key.endswith(found))
    await tenant.world.redis.zadd(keys.due(partition), {member: due})
    assert (await tenant.show(opened["reservation_id"])).body["state"] == "open"
    assert await tenant.world.redis.zscore(keys.due(partition), member) == float("inf")
    assert (await tenant.show(opened["reservation_id"])).body["state"] == "open"
