"""Reservations of features that are counted: what they hold of a limit, and where in the tiers a commit stands."""

import asyncio
from typing import Any

import aiohttp
import pytest

from app.rules.credits import MICRO
from app.rules.moments import to_rfc3339
from app.rules.pricing import GraduatedPrice, PerUnitPrice, Tier, always
from app.wire import ids, keys
from app.wire.held import EXPIRY, EndedReservation, Facts
from app.wire.snapshot import FeatureTerms
from tests.edge.test_limits import COUNTED, FEATURE, PERIOD_AT, RESETS_AT, check, said, seed, set_used, used_key
from tests.edge.test_reservation_retries import core_restores, make_due, make_long_due
from tests.edge.test_reservations import opened, refusal
from tests.edge.world import PRICE_ID, Tenant, asked_twice
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEXT_AT = PERIOD_AT + 30 * 86_400 * MICRO


async def used(tenant: Tenant, feature_key: str = FEATURE) -> float:
    """Units that are counted."""
    return int(await tenant.world.redis.hget(used_key(tenant), feature_key) or 0) / MICRO


async def periods(tenant: Tenant) -> list[bytes | None]:
    """In which period each entry of user_1 counts."""
    return [entry.get(b"s") for entry in await tenant.entries("user_1")]


async def turn(tenant: Tenant) -> None:
    """A publish brings the next period, in which nothing is counted."""
    await tenant.world.redis.hset(tenant.account_key("user_1"), mapping={"revision": 4, "period": NEXT_AT})
    await tenant.world.redis.delete(used_key(tenant))


async def test_parallel_reservations_never_go_beyond_the_limit(tenant: Tenant) -> None:
    """64: 100 reservations of one unit at once, over both workers, at a limit of 10: exactly 10 are made."""
    await seed(tenant)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        client = tenant.on(session)
        answers = await asyncio.gather(*(client.reserve("user_1", FEATURE, units=1) for _ in range(100)))
    assert sorted(answer.status for answer in answers) == [201] * 10 + [402] * 90
    assert {answer.body["code"] for answer in answers if answer.status == 402} == {"limit_reached"}
    assert await periods(tenant) == [b"%d" % PERIOD_AT] * 10
    assert await check(tenant) == said(10, "limit_reached")


async def test_a_refusal_says_how_far_it_is(tenant: Tenant) -> None:
    """402 with limit, used and when counting begins anew, before credit; it stays when the period is another."""
    await seed(tenant, balance=0, used=8)
    sent = {"units": 3, "idempotency_key": "k"}
    first = await tenant.reserve("user_1", FEATURE, **sent)
    assert refusal(first) == (402, "limit_reached")
    assert first.body["context"] == {"limit": 10, "used": 8, "resets_at": to_rfc3339(RESETS_AT)}
    assert first.body["instance"].startswith("rsv_")
    await turn(tenant)
    again = await tenant.reserve("user_1", FEATURE, **sent)
    assert (again.status, again.raw, again.headers["Idempotent-Replayed"]) == (402, first.raw, "true")
    assert refusal(await tenant.reserve("user_1", FEATURE, units=2)) == (402, "insufficient_credits")
    assert (await tenant.entries("user_1"), await used(tenant)) == ([], 0)


@pytest.mark.parametrize(
    ("verb", "sent", "left"),
    [
        ("commit", {"units": 4}, 4),
        ("commit", {"units": 0}, 0),
        ("commit", {}, 10),
        ("commit", {"units": 12}, 12),
        ("release", {}, 0),
    ],
    ids=str,
)
async def test_what_is_not_used_is_free_again(tenant: Tenant, verb: str, sent: dict[str, Any], left: int) -> None:
    """An end leaves what was really used, whatever was reserved: more than the limit too. A repeat moves nothing."""
    await seed(tenant)
    reservation_id = await opened(tenant, FEATURE, units=10)
    assert refusal(await tenant.reserve("user_1", FEATURE, units=1)) == (402, "limit_reached")
    for _ in range(2):
        assert (await tenant.change(reservation_id, verb, **sent)).status == 200
    assert await used(tenant) == left
    answer = await tenant.reserve("user_1", FEATURE, units=10 - min(left, 9))
    assert answer.status == (201 if left < 10 else 402)
    assert (await periods(tenant))[1] == (b"%d" % PERIOD_AT if verb == "commit" else None)


async def test_a_repeated_opening_counts_once(tenant: Tenant) -> None:
    """Twenty twins at once, and one after its end."""
    await seed(tenant)
    sent = {"units": 6, "idempotency_key": "k"}
    answers = await asyncio.gather(*(tenant.reserve("user_1", FEATURE, **sent) for _ in range(20)))
    assert {answer.raw for answer in answers} == {answers[0].raw}
    assert (answers[0].status, await used(tenant)) == (201, 6)
    await asyncio.gather(*(tenant.change(answers[0].body["reservation_id"], "commit", units=5) for _ in range(20)))
    assert (await tenant.reserve("user_1", FEATURE, **sent)).status == 201
    assert await used(tenant) == 5


async def test_credits_count_nothing(tenant: Tenant) -> None:
    """They are no units: no limit holds for them, and no counter moves."""
    await seed(tenant, used=10)
    reservation_id = await opened(tenant, FEATURE, credits=5)
    assert (await tenant.change(reservation_id, "commit", credits=3)).status == 200
    assert (await used(tenant), await periods(tenant)) == (10, [None, None])


async def test_a_period_ends_between_opening_and_end(tenant: Tenant) -> None:
    """What was used counts in the present period; what was reserved is out of it already."""
    await seed(tenant)
    first, second = await opened(tenant, FEATURE, units=6), await opened(tenant, FEATURE, units=4)
    await turn(tenant)
    await set_used(tenant, 2)
    assert (await tenant.change(first, "commit", units=5)).status == 200
    assert (await tenant.change(second, "release")).status == 200
    assert await used(tenant) == 7
    assert (await periods(tenant))[2:] == [b"%d" % NEXT_AT, None]


async def test_what_is_past_due_holds_nothing_of_a_limit(tenant: Tenant) -> None:
    """Before a refusal for the limit it is expired; a late commit counts all the same, beyond the limit too."""
    await seed(tenant)
    reservation_id = await opened(tenant, FEATURE, units=10)
    await make_long_due(tenant, reservation_id)
    assert (await tenant.reserve("user_1", FEATURE, units=9)).status == 201
    assert await used(tenant) == 9
    for _ in range(2):
        answer = await tenant.change(reservation_id, "commit", units=7)
        assert (answer.status, answer.body["late"]) == (200, True)
    assert await used(tenant) == 16
    assert await periods(tenant) == [b"%d" % PERIOD_AT, None, b"%d" % PERIOD_AT, b"%d" % PERIOD_AT]


async def test_a_late_commit_that_costs_nothing_is_counted(tenant: Tenant) -> None:
    """What is free up to a bound has been used all the same."""
    free = FeatureTerms(always(PRICE_ID, PerUnitPrice(0)), included=True, limit_units_micro=10 * MICRO)
    await tenant.seed("user_1", 1000, tenant.plan(free=free), **COUNTED)
    reservation_id = await opened(tenant, "free", units=10)
    await make_due(tenant, reservation_id)
    assert (await tenant.change(reservation_id, "commit", units=7)).body["late"] is True
    assert await used(tenant, "free") == 7


async def test_a_graduated_price_is_that_of_the_commit(tenant: Tenant) -> None:
    """Its place in the tiers is after what others have used by then, wherever its own opening stood."""
    tiers = GraduatedPrice((Tier(10, 3 * MICRO), Tier(None, MICRO)))
    rising = FeatureTerms(always(PRICE_ID, tiers), included=True)
    await tenant.seed("user_1", 1000, tenant.plan(rising=rising), **COUNTED)
    answer = await tenant.reserve("user_1", "rising", units=8)
    assert answer.body["reserved"] == 24
    assert (await tenant.use("user_1", "rising", units=6)).body["cost"] == 6 + 2 * 2
    ended = await tenant.change(answer.body["reservation_id"], "commit", units=6)
    assert (ended.body["charged"], ended.body["released"]) == (4 * 3 + 2, 10)
    assert await used(tenant, "rising") == 12


async def test_a_late_commit_counts_after_a_loss_of_memory(tenant: Tenant) -> None:
    """Core puts back in which period the opening was counted; the commit counts in the present one."""
    await seed(tenant)
    reservation_id = await opened(tenant, FEATURE, units=10)
    await tenant.world.redis.delete(tenant.reservation_key(reservation_id))
    await set_used(tenant, 0)
    facts = Facts(FEATURE, in_credits=False, units_micro=10 * MICRO, price_id=PRICE_ID, price=PerUnitPrice(MICRO))
    ref, found = keys.account_ref(tenant.ref, "user_1"), ids.parse("rsv", reservation_id)
    core_restores(tenant, EndedReservation(found, ref, facts, 10 * MICRO, 77, EXPIRY, None, 0, PERIOD_AT))
    answer = await tenant.change(reservation_id, "commit", units=7)
    assert (answer.status, answer.body["late"]) == (200, True)
    assert await used(tenant) == 7


async def test_a_new_period_is_waited_for(tenant: Tenant) -> None:
    """At the period's end nothing is reserved until the ledger has turned it; then counting begins anew."""
    await seed(tenant, used=10)
    over = {"valid_until": RESETS_AT - 7200 * MICRO}
    await tenant.world.redis.hset(tenant.account_key("user_1"), mapping=over)
    answering = asyncio.ensure_future(asked_twice(lambda: tenant.reserve("user_1", FEATURE, units=10)))
    await wait_until_async(lambda: tenant.entries("user_1"), 5, "a tick is left")
    await turn(tenant)
    await tenant.world.redis.hset(tenant.account_key("user_1"), "valid_until", RESETS_AT)
    assert (await answering).status == 201
    assert (await periods(tenant))[-1] == b"%d" % NEXT_AT
