"""Prices at the edge: checks and usage come to the same cost, by properties and at the right moment."""

import asyncio
import json
from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.rules.credits import MICRO
from app.rules.entitlement import OveragePolicy
from app.rules.pricing import (
    FlatPrice,
    GraduatedPrice,
    PackagePrice,
    PerUnitPrice,
    Price,
    PriceVersion,
    Rate,
    Tier,
    VolumePrice,
    always,
    in_precedence,
)
from app.wire import keys
from app.wire.events import UsagePayload
from app.wire.snapshot import FeatureTerms
from tests.edge.world import PRICE_ID, Tenant, now_at
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = {"Content-Type": "application/json"}
HOUR = 3600 * MICRO
NEXT_ID = UUID(int=8)
"""Of the price that follows PRICE_ID."""
TIERS = (Tier(10, 5 * MICRO), Tier(100, 2 * MICRO), Tier(None, MICRO))
SMALL = Rate([PriceVersion(0, PRICE_ID, PerUnitPrice(MICRO))])
"""1 a unit for everybody."""


def terms(price: Price) -> FeatureTerms:
    """A feature that is in the plan at this price."""
    return FeatureTerms(always(PRICE_ID, price), included=True)


async def seed(tenant: Tenant, rates: list[Rate], **fields: Any) -> None:
    """user_1 with 1,000 credits, and the feature `f` at these rates."""
    await tenant.seed("user_1", 1000, tenant.plan(f=FeatureTerms(rates, included=True)), **fields)


async def set_used(tenant: Tenant, units: int) -> None:
    """So much of `f` was used in the period."""
    ref = keys.account_ref(tenant.ref, "user_1")
    await tenant.world.redis.hset(keys.used(tenant.partition("user_1"), ref), "f", units * MICRO)


async def charged(tenant: Tenant) -> list[tuple[int, int, UUID]]:
    """(accepted time, cost, price) of every event of user_1."""
    decode = msgspec.msgpack.Decoder(UsagePayload).decode
    entries = await tenant.entries("user_1")
    return [(int(entry[b"t"]), int(entry[b"c"]), decode(entry[b"p"]).price_id) for entry in entries]


# ---- kinds


@pytest.mark.parametrize(
    ("price", "units", "cost"),
    [
        (FlatPrice(10 * MICRO), "3", 10),
        (PerUnitPrice(3 * MICRO, 1000), "1500", 4.5),
        (PackagePrice(2 * MICRO, 100), "100", 2),
        (PackagePrice(2 * MICRO, 100), "100.000001", 4),
        (VolumePrice(TIERS), "10", 50),
        (VolumePrice(TIERS), "10.5", 21),
        (VolumePrice(TIERS, 10), "101", 10.1),
        (GraduatedPrice(TIERS), "4", 20),
        (GraduatedPrice(TIERS), "12", 54),
        (GraduatedPrice(TIERS, 3), "1", 1.666667),
    ],
)
async def test_a_check_says_what_is_charged(tenant: Tenant, price: Price, units: str, cost: float) -> None:
    """Of every kind, and the entry in the stream says it too."""
    await seed(tenant, always(PRICE_ID, price))
    assert (await tenant.check("user_1", "f", units=units)).body["cost"] == cost
    assert (await tenant.use("user_1", "f", units=json.loads(units))).body["cost"] == cost
    assert [entry[1:] for entry in await charged(tenant)] == [(round(cost * MICRO), PRICE_ID)]


@pytest.mark.parametrize(("used", "units", "cost"), [(0, 10, 50), (7, 5, 19), (10, 1, 2), (95, 10, 15), (10**9, 3, 3)])
async def test_graduated_by_what_was_used(tenant: Tenant, used: int, units: int, cost: int) -> None:
    """The counter of the period says where in the tiers an event begins."""
    await seed(tenant, always(PRICE_ID, GraduatedPrice(TIERS)))
    await set_used(tenant, used)
    assert (await tenant.check("user_1", "f", units=str(units))).body["cost"] == cost
    answer = await tenant.use("user_1", "f", units=units, enforce=True, idempotency_key="k")
    assert (answer.body["cost"], answer.body["balance"]) == (cost, 1000 - cost)
    assert (await tenant.use("user_1", "f", units=units, enforce=True, idempotency_key="k")).raw == answer.raw


async def test_a_graduated_price_that_credit_does_not_cover(tenant: Tenant) -> None:
    """Check and `enforce` say no at the same cost, which is remembered; without `enforce` it is overage."""
    await seed(tenant, always(PRICE_ID, GraduatedPrice(TIERS)))
    await set_used(tenant, 5)
    body = (await tenant.check("user_1", "f", units="900")).body
    assert (body["allowed"], body["reason"], body["cost"]) == (False, "insufficient_credits", 1010)
    for _ in range(2):
        answer = await tenant.use("user_1", "f", units=900, enforce=True, idempotency_key="k")
        assert (answer.status, answer.body["context"]) == (402, {"balance": 1000, "cost": 1010})
    assert (await tenant.use("user_1", "f", units=900)).body["overage"] == 10


async def test_graduated_prices_take_whole_units(tenant: Tenant) -> None:
    """422 for a fraction, in checks, usage and batches; nothing is recorded."""
    await seed(tenant, always(PRICE_ID, GraduatedPrice(TIERS)))
    for answer in (await tenant.check("user_1", "f", units="0.5"), await tenant.use("user_1", "f", units=1.5)):
        assert (answer.status, answer.body["code"]) == (422, "invalid_units")
        assert [error["field"] for error in answer.body["errors"]] == ["units"]
    answer = await tenant.batch([{"end_user_id": "user_1", "feature_key": "f", "units": units} for units in (1.5, 1)])
    assert [result["code"] for result in answer.body["results"]] == ["invalid_units", None]
    assert len(await charged(tenant)) == 1


async def test_a_graduated_cost_beyond_the_bound(tenant: Tenant) -> None:
    """Only Redis knows the cost; it is refused there as here, and so does a check."""
    dear = GraduatedPrice((Tier(10, 0), Tier(None, 2 * MICRO)))
    policy = OveragePolicy.ALLOW
    plan = tenant.plan(f=FeatureTerms(always(PRICE_ID, dear), included=True, overage_policy=policy))
    await tenant.seed("user_1", 1000, plan)
    assert (await tenant.check("user_1", "f", units="500000010")).body["cost"] == 10**9
    await set_used(tenant, 1)
    for answer in (
        await tenant.check("user_1", "f", units="500000010"),
        await tenant.use("user_1", "f", units=500_000_010),
    ):
        assert (answer.status, answer.body["code"]) == (422, "cost_too_large")
        assert answer.body["context"] == {"cost": 10**9 + 2}
    assert await charged(tenant) == []


# ---- properties

LARGE = Rate([PriceVersion(0, UUID(int=11), FlatPrice(20 * MICRO))], {"model": "large"})
LARGE_HERE = Rate([PriceVersion(0, UUID(int=12), FlatPrice(30 * MICRO))], {"model": "large", "region": "eu"})
HERE = Rate([PriceVersion(0, UUID(int=13), FlatPrice(40 * MICRO))], {"region": "eu"})


@pytest.mark.parametrize(
    ("properties", "cost"),
    [
        (None, 1),
        ({}, 1),
        ({"model": "small"}, 1),
        ({"model": "large"}, 20),
        ({"model": "large", "region": "us", "more": [1, {"a": None}]}, 20),
        ({"model": "large", "region": "eu"}, 30),
        ({"model": "Large", "region": "eu"}, 40),
        ({"model": ["large"]}, 1),
        ({"model": None, "region": 1e30}, 1),
        ({"more": {"model": "large"}}, 1),
    ],
)
async def test_a_price_for_some_usage(tenant: Tenant, properties: dict[str, Any] | None, cost: int) -> None:
    """The price that asks for most of what the event has; a property that is no text matches nothing."""
    await seed(tenant, in_precedence([SMALL, HERE, LARGE, LARGE_HERE]))
    asked = {} if properties is None else {"properties": json.dumps(properties)}
    assert (await tenant.check("user_1", "f", **asked)).body["cost"] == cost
    assert (await tenant.use("user_1", "f", properties=properties)).body["cost"] == cost


async def test_of_two_prices_that_ask_for_as_much_the_first_pair_counts(tenant: Tenant) -> None:
    """`model` stands before `region`."""
    await seed(tenant, in_precedence([SMALL, HERE, LARGE]))
    answer = await tenant.use("user_1", "f", properties={"region": "eu", "model": "large"})
    assert answer.body["cost"] == 20


async def test_properties_mean_what_their_json_means(tenant: Tenant) -> None:
    """However a text is written, it is the same text."""
    await seed(tenant, [LARGE, SMALL])
    body = b'{"end_user_id": "user_1", "feature_key": "f", "properties": {"mod\\u0065l" : "l\\u0061rge"}}'
    assert (await tenant.send("POST", "/v1/usage", data=body, headers=BODY)).body["cost"] == 20


@pytest.mark.parametrize("text", [b'{"model": "\\ud800"}', b'{"model": "large\\q"}', b'{"model": "a\nb"}'])
async def test_properties_that_cannot_be_read(tenant: Tenant, text: bytes) -> None:
    """Where a price depends on them they are refused; nothing is charged by a guess."""
    await seed(tenant, [LARGE, SMALL])
    body = b'{"end_user_id": "user_1", "feature_key": "f", "properties": %b}' % text
    answer = await tenant.send("POST", "/v1/usage", data=body, headers=BODY)
    assert answer.status == 400
    assert answer.body["code"] in {"invalid_body", "malformed_json"}
    assert await charged(tenant) == []


# ---- a change of price


@pytest.mark.parametrize(("shift", "cost"), [(-1, 1), (0, 5), (1, 5)])
async def test_a_price_changes_at_its_moment(tenant: Tenant, shift: int, cost: int) -> None:
    """By the account's clock, also where that is an hour ahead of the worker's; to the microsecond."""
    moment = now_at() + HOUR
    rate = Rate(
        [PriceVersion(0, PRICE_ID, PerUnitPrice(MICRO)), PriceVersion(moment, NEXT_ID, PerUnitPrice(5 * MICRO))]
    )
    await seed(tenant, [rate], last_at=moment + shift)
    assert (await tenant.check("user_1", "f")).body["cost"] == cost
    for _ in range(4):  # both workers
        answer = await tenant.use("user_1", "f", enforce=True)
        assert (answer.status, answer.body["cost"]) == (202, cost)
    price_id = PRICE_ID if cost == 1 else NEXT_ID
    assert await charged(tenant) == [(moment + shift, cost * MICRO, price_id)] * 4


async def test_a_price_that_has_begun_since_the_snapshot(tenant: Tenant) -> None:
    """Nothing has to be published for it: the snapshot has known it all the time."""
    rate = Rate(
        [PriceVersion(0, PRICE_ID, FlatPrice(MICRO)), PriceVersion(now_at() - 1, NEXT_ID, FlatPrice(5 * MICRO))]
    )
    await seed(tenant, [rate])
    assert (await tenant.check("user_1", "f")).body["cost"] == 5
    assert (await tenant.use("user_1", "f")).body["cost"] == 5


async def test_events_while_a_price_changes(tenant: Tenant) -> None:
    """Each is charged at the price of the moment that its entry is dated, whatever it was priced at first."""
    moment = now_at() + MICRO // 2
    rate = Rate([PriceVersion(0, PRICE_ID, FlatPrice(MICRO)), PriceVersion(moment, NEXT_ID, FlatPrice(5 * MICRO))])
    await seed(tenant, [rate])

    async def has_changed() -> bool:
        answers = await asyncio.gather(*(tenant.use("user_1", "f") for _ in range(5)))
        return all(answer.body["cost"] == 5 for answer in answers)

    await wait_until_async(has_changed, 10, "the price has changed")
    found = await charged(tenant)
    assert {price_id for _, _, price_id in found} == {PRICE_ID, NEXT_ID}
    assert all((at >= moment) == (price_id == NEXT_ID) for at, _, price_id in found)


async def test_a_refusal_is_of_the_price_at_the_accounts_clock(tenant: Tenant) -> None:
    """What the old price made too dear, or whole, the new one may not, and the other way about."""
    dear, moment = PerUnitPrice(2 * MICRO), now_at() + HOUR
    changes = {"cheaper": (dear, PerUnitPrice(1)), "dearer": (PerUnitPrice(1), dear)}
    cheaper, dearer = (
        FeatureTerms([Rate([PriceVersion(0, PRICE_ID, before), PriceVersion(moment, NEXT_ID, after)])], included=True)
        for before, after in changes.values()
    )
    plan = tenant.plan(cheaper=cheaper, dearer=dearer)
    await tenant.seed("user_1", 10**6, plan)
    assert [(await tenant.use("user_1", name, units=10**9)).status for name in changes] == [422, 202]
    await tenant.seed("user_1", 10**6, plan, last_at=moment)
    assert [(await tenant.use("user_1", name, units=10**9)).status for name in changes] == [202, 422]
    assert [(await tenant.check("user_1", name, units="1000000000")).status for name in changes] == [200, 422]


async def test_a_refusal_of_another_plan_has_nothing_to_do_with_the_price_before(tenant: Tenant) -> None:
    """The feature is gone, and the moment at which its price would have changed has come: 404."""
    moment = now_at() + HOUR
    rate = Rate([PriceVersion(0, PRICE_ID, FlatPrice(MICRO)), PriceVersion(moment, NEXT_ID, FlatPrice(5 * MICRO))])
    await seed(tenant, [rate])
    for _ in range(8):  # both workers come to know the plan
        assert (await tenant.use("user_1", "f")).status == 202
    await tenant.seed("user_1", 1000, last_at=moment)
    answers = await asyncio.gather(*(tenant.use("user_1", "f") for _ in range(10)))
    assert {(answer.status, answer.body["code"]) for answer in answers} == {(404, "unknown_feature")}


async def test_a_change_to_a_graduated_price(tenant: Tenant) -> None:
    """A price to come may be of another kind, and for some usage only."""
    moment = now_at() + HOUR
    later = Rate([PriceVersion(moment, NEXT_ID, GraduatedPrice(TIERS))], {"model": "large"})
    large = {"model": "large"}
    for last_at, cost in ((0, 3), (moment, 12)):
        await seed(tenant, [later, SMALL], last_at=last_at)
        assert (await tenant.use("user_1", "f", units=3)).body["cost"] == 3
        await set_used(tenant, 8)
        assert (await tenant.check("user_1", "f", units="3", properties=json.dumps(large))).body["cost"] == cost
        assert (await tenant.use("user_1", "f", units=3, properties=large)).body["cost"] == cost
