"""Prices of every kind, for some usage, and from a moment on: what can be set, and what the edge is told of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.metering import service
from app.rules.credits import MICRO
from app.rules.moments import to_at
from app.rules.pricing import FlatPrice, PriceVersion, Rate, always
from app.wire.codes import Code
from app.wire.ids import parse
from tests.app.core import Core, Tenant
from tests.app.metering.test_features import published_terms
from tests.app.web.test_problems import assert_problem

TIERS = [{"amount": 0.05, "up_to": 1000}, {"amount": 0.02, "up_to": None}]
PATH = "/v1/features/f/prices"


def flat(amount: int, **more: Any) -> dict[str, Any]:
    """A flat price."""
    return {"kind": "flat", "amount": amount, **more}


def in_hours(hours: float) -> str:
    """A moment so many hours from now, as RFC 3339."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def make(tenant: Tenant, price: dict[str, Any] | None = None) -> dict[str, Any]:
    """The feature `f`, at a flat price of 1 where no other is given, and the customer `u`."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    return await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F", "price": price or flat(1)})


@pytest.mark.parametrize(
    ("sent", "filled"),
    [
        ({"kind": "package", "amount": 2, "per": 100}, {}),
        ({"kind": "graduated", "tiers": TIERS}, {"per": 1}),
        (
            {"kind": "graduated", "tiers": [{"amount": 15}], "per": 1_000_000},
            {"tiers": [{"amount": 15, "up_to": None}]},
        ),
        ({"kind": "volume", "tiers": TIERS, "per": 10}, {}),
    ],
)
async def test_kinds_are_shown_as_they_were_set(tenant: Tenant, sent: dict[str, Any], filled: dict[str, Any]) -> None:
    """When the feature is made, when a price follows, and in the list."""
    made = await make(tenant, sent)
    assert made["price"] == sent | filled
    again = await tenant.sandbox.made(PATH, sent)
    assert (again["price"], again["match"], again["version"]) == (sent | filled, {}, 2)
    assert [row["price"] for row in (await tenant.sandbox.read(PATH))["data"]] == [sent | filled] * 2


@pytest.mark.parametrize(
    ("price", "code", "field"),
    [
        ({"kind": "package", "amount": 1}, Code.INVALID_BODY, "per"),
        ({"kind": "package", "amount": -1, "per": 5}, Code.INVALID_VALUE, "amount"),
        ({"kind": "volume", "tiers": [{"amount": -1}]}, Code.INVALID_VALUE, "tiers[0].amount"),
        ({"kind": "volume", "tiers": []}, Code.INVALID_VALUE, "tiers"),
        ({"kind": "volume", "tiers": [{"amount": 1}] * 51}, Code.INVALID_VALUE, "tiers"),
        ({"kind": "volume", "tiers": [{"amount": 1, "up_to": 0}]}, Code.INVALID_VALUE, "tiers[0].up_to"),
        ({"kind": "volume", "tiers": [{"amount": 1, "up_to": 5}]}, Code.INVALID_VALUE, "tiers[0].up_to"),
        ({"kind": "graduated", "tiers": [{"amount": 10}]}, Code.INVALID_VALUE, "tiers"),
        ({"kind": "graduated", "amount": 1}, Code.UNKNOWN_FIELD, "amount"),
        (flat(1, match={"": "x"}), Code.INVALID_VALUE, "match"),
        (flat(1, match={"m": "x" * 257}), Code.INVALID_VALUE, "match.m"),
        (flat(1, match={str(number): "x" for number in range(9)}), Code.INVALID_VALUE, "match"),
        (flat(1, match={"m": 1}), Code.INVALID_BODY, "match[...]"),
        (flat(1, effective_at="2020-01-01T00:00:00Z"), Code.INVALID_VALUE, "effective_at"),
        (flat(1, effective_at="9000-01-01T00:00:00Z"), Code.INVALID_VALUE, "effective_at"),
        (flat(1, effective_at="2030-01-01T00:00:00"), Code.INVALID_VALUE, "effective_at"),
    ],
)
async def test_prices_that_cannot_be_set(tenant: Tenant, price: dict[str, Any], code: Code, field: str) -> None:
    """Each is refused by name, and nothing of it remains."""
    await make(tenant)
    assert_problem(await tenant.sandbox.post(PATH, price), code, field)
    assert len((await tenant.sandbox.read(PATH))["data"]) == 1


async def test_all_that_is_wrong_with_a_price_is_named(tenant: Tenant) -> None:
    """In one answer."""
    await make(tenant)
    tiers = [{"amount": 1, "up_to": 9}, {"amount": 1, "up_to": 9}, {"amount": 1}]
    answer = await tenant.sandbox.post(PATH, {"kind": "graduated", "tiers": tiers, "match": {"": "x", "m": ""}})
    fields = ["tiers[1].up_to", "match", "match.m"]
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, fields)


@pytest.mark.parametrize(
    ("more", "field"), [({"match": {"model": "large"}}, "match"), ({"effective_at": in_hours(1)}, "effective_at")]
)
async def test_the_first_price_is_for_everybody_and_at_once(tenant: Tenant, more: dict[str, Any], field: str) -> None:
    """So that something always has a price from the first one on."""
    body = {"key": "f", "name": "F", "price": flat(1, **more)}
    assert_problem(await tenant.sandbox.post("/v1/features", body), Code.INVALID_VALUE, f"price.{field}")
    await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F"})
    assert_problem(await tenant.sandbox.post(PATH, flat(1, **more)), Code.INVALID_VALUE, field)
    await tenant.sandbox.made(PATH, flat(1))
    await tenant.sandbox.made(PATH, flat(1, **more))


async def test_what_the_edge_is_told(core: Core, tenant: Tenant) -> None:
    """One rate for each match, in order; of each what is in force and what is to come, the last one set counting."""
    made = await make(tenant)
    first, later = in_hours(1), in_hours(2)
    set_ = {
        name: await tenant.sandbox.made(PATH, body)
        for name, body in {
            "in two hours": flat(3, effective_at=later),
            "in an hour, at first": flat(8, effective_at=first),
            "in an hour": flat(9, effective_at=first),
            "large": flat(20, match={"model": "large"}),
            "large here": flat(30, match={"region": "eu", "model": "large"}),
            "large here, later": flat(31, match={"model": "large", "region": "eu"}, effective_at=later),
            "now": flat(2),
        }.items()
    }

    def version(name: str, at: int = 0) -> PriceVersion:
        shown = set_[name]
        return PriceVersion(at, parse("price", shown["price_id"]), FlatPrice(shown["price"]["amount"] * MICRO))

    first_at, later_at = (to_at(datetime.fromisoformat(moment)) for moment in (first, later))
    both = {"model": "large", "region": "eu"}
    assert (await published_terms(core, tenant, "u"))["f"].rates == [
        Rate([version("large here"), version("large here, later", later_at)], both),
        Rate([version("large")], {"model": "large"}),
        Rate([version("now"), version("in an hour", first_at), version("in two hours", later_at)]),
    ]
    shown = await tenant.sandbox.read("/v1/features/f")
    assert (shown["price"], shown["price_id"]) == (flat(2), set_["now"]["price_id"])
    listed = (await tenant.sandbox.read(PATH))["data"]
    assert [row["version"] for row in listed] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert listed[-1]["price_id"] == made["price_id"]
    assert listed[1]["match"] == both
    assert datetime.fromisoformat(listed[1]["effective_at"]) == datetime.fromisoformat(later)


async def test_prices_of_a_feature_have_a_bound(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a snapshot would hold of them is counted; those that are past are not."""
    monkeypatch.setattr(service, "MAX_PRICES", 4)
    await make(tenant)
    for _ in range(5):
        await tenant.sandbox.made(PATH, flat(1))
    await tenant.sandbox.made(PATH, flat(1, match={"model": "large"}))
    for _ in range(2):
        await tenant.sandbox.made(PATH, flat(1, effective_at=in_hours(1)))
    assert_problem(await tenant.sandbox.post(PATH, flat(1)), Code.INVALID_VALUE, "prices")


# ---- prices of a variant


async def make_variant(tenant: Tenant, inclusion: dict[str, Any]) -> Any:
    """The answer to a variant of the plan `pro` that includes `f` like this."""
    await tenant.sandbox.made("/v1/plans", {"key": "pro", "name": "Pro"})
    variant = {"key": "monthly", "interval": "month", "features": [{"feature_key": "f", **inclusion}]}
    return await tenant.sandbox.post("/v1/plans/pro/variants", variant)


@pytest.mark.usefixtures("flusher")
async def test_a_variant_replaces_all_prices_of_a_feature(core: Core, tenant: Tenant) -> None:
    """Also those that are for some usage only; they are shown as they were sent."""
    await make(tenant)
    await tenant.sandbox.made(PATH, flat(7, match={"model": "small"}))
    later = in_hours(1)
    prices = [flat(1, match={"model": "large"}), flat(2), flat(3, effective_at=later)]
    answer = await make_variant(tenant, {"prices": prices})
    shown = answer.json()["features"][0]
    assert shown["price"] is None
    assert shown["prices"][:2] == prices[:2]
    assert datetime.fromisoformat(shown["prices"][2].pop("effective_at")) == datetime.fromisoformat(later)
    assert shown["prices"][2] == flat(3)
    body = {"end_user_id": "u", "plan_variant_id": answer.json()["plan_variant_id"]}
    await tenant.sandbox.made("/v1/subscriptions", body)
    rates = (await published_terms(core, tenant, "u"))["f"].rates
    amounts = [[(v.effective_at, v.price) for v in rate.versions] for rate in rates]
    later_at = to_at(datetime.fromisoformat(later))
    assert amounts == [[(0, FlatPrice(MICRO))], [(0, FlatPrice(2 * MICRO)), (later_at, FlatPrice(3 * MICRO))]]
    await tenant.sandbox.made(PATH, flat(9))
    assert (await published_terms(core, tenant, "u"))["f"].rates == rates


@pytest.mark.usefixtures("flusher")
async def test_one_price_of_a_variant(core: Core, tenant: Tenant) -> None:
    """`price` is short for a list of one, and a list of one is shown as `price`."""
    await make(tenant)
    answer = await make_variant(tenant, {"prices": [flat(5)]})
    assert answer.json()["features"][0] == {
        "feature_key": "f",
        "price": flat(5),
        "prices": [],
        "overage_policy": None,
        "overage_limit": None,
        "limit": None,
    }
    body = {"end_user_id": "u", "plan_variant_id": answer.json()["plan_variant_id"]}
    await tenant.sandbox.made("/v1/subscriptions", body)
    (rate,) = (await published_terms(core, tenant, "u"))["f"].rates
    assert [rate] == always(rate.versions[0].price_id, FlatPrice(5 * MICRO))


@pytest.mark.parametrize(
    ("inclusion", "field"),
    [
        ({"price": flat(1), "prices": [flat(1)]}, "prices"),
        ({"price": flat(-1)}, "price.amount"),
        ({"price": flat(1, match={"model": "large"})}, "price.match"),
        ({"price": flat(1, effective_at=in_hours(1))}, "price.effective_at"),
        ({"prices": [flat(1, match={"model": "large"})]}, "prices"),
        ({"prices": [flat(1, effective_at=in_hours(1))]}, "prices"),
        ({"prices": [flat(1), flat(2)]}, "prices[1]"),
        ({"prices": [flat(1), flat(2, effective_at="2020-01-01T00:00:00Z")]}, "prices[1].effective_at"),
        ({"prices": [flat(1), {"kind": "volume", "tiers": [{"amount": 1, "up_to": 1}]}]}, "prices[1].tiers[0].up_to"),
    ],
)
async def test_prices_that_a_variant_cannot_have(tenant: Tenant, inclusion: dict[str, Any], field: str) -> None:
    """Refused by name, and no variant is made."""
    await make(tenant)
    assert_problem(await make_variant(tenant, inclusion), Code.INVALID_VALUE, f"features[0].{field}")
    assert (await tenant.sandbox.read("/v1/plans/pro/variants"))["data"] == []
