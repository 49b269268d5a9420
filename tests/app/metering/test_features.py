"""Features and what they cost."""

from typing import Any

import pytest

from app.rules.credits import MICRO
from app.rules.pricing import FlatPrice, always
from app.wire.codes import Code
from app.wire.ids import parse
from app.wire.snapshot import FeatureTerms, decode_plan
from tests.app.core import Core, Tenant
from tests.app.web.test_problems import assert_problem


async def published_terms(core: Core, tenant: Tenant, end_user_id: str) -> dict[str, FeatureTerms]:
    """What the edge knows of the features, by way of one customer's account."""
    view = await core.parts.redis.read_account(tenant.environment_id, end_user_id)
    assert view is not None
    await core.edge.post(
        "/internal/plans/load", {"environment_id": str(tenant.environment_id), "snapshot_id": view.snapshot_id}
    )
    return decode_plan(await core.parts.redis.client.get(b"plan:" + view.snapshot_id.encode())).features


async def test_making_and_finding(tenant: Tenant) -> None:
    """With and without a price; listed by key."""
    price = {"kind": "per_unit", "amount": 0.5, "per": 1000}
    tokens = await tenant.sandbox.made("/v1/features", {"key": "tokens", "name": "Tokens", "price": price})
    assert tokens["feature_id"].startswith("feat_")
    assert (tokens["kind"], tokens["price"]) == ("metered", price)
    assert tokens["price_id"].startswith("price_")
    calls = await tenant.sandbox.made("/v1/features", {"key": "calls", "name": "Calls", "kind": "metered"})
    assert (calls["price"], calls["price_id"]) == (None, None)
    assert await tenant.sandbox.read("/v1/features/tokens") == tokens
    assert (await tenant.sandbox.read("/v1/features"))["data"] == [calls, tokens]
    answer = await tenant.sandbox.post("/v1/features", {"key": "calls", "name": "Other"})
    assert_problem(answer, Code.CONFLICT)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"kind": "flat", "amount": 0}, {"kind": "flat", "amount": 0}),
        ({"kind": "flat", "amount": 0.000001}, {"kind": "flat", "amount": 0.000001}),
        ({"kind": "per_unit", "amount": 3}, {"kind": "per_unit", "amount": 3, "per": 1}),
        ({"kind": "per_unit", "amount": 10**9, "per": 10**9}, {"kind": "per_unit", "amount": 10**9, "per": 10**9}),
    ],
)
async def test_prices_that_can_be_set(tenant: Tenant, sent: dict[str, Any], shown: dict[str, Any]) -> None:
    """They are shown as they were meant."""
    made = await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F", "price": sent})
    assert made["price"] == shown


@pytest.mark.parametrize(
    ("price", "field"),
    [
        ({"kind": "flat", "amount": 10**9 + 1}, "amount"),
        ({"kind": "flat", "amount": -0.5}, "amount"),
        ({"kind": "per_unit", "amount": 1, "per": 0}, "per"),
        ({"kind": "per_unit", "amount": 1, "per": 10**9 + 1}, "per"),
    ],
)
async def test_prices_that_cannot(tenant: Tenant, price: dict[str, Any], field: str) -> None:
    """They are refused by name, and the present one stays."""
    await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F"})
    answer = await tenant.sandbox.post("/v1/features/f/prices", price)
    assert_problem(answer, Code.INVALID_VALUE, field)
    assert (await tenant.sandbox.read("/v1/features/f/prices"))["data"] == []


async def test_a_new_price_is_a_new_version_and_known_at_once(core: Core, tenant: Tenant) -> None:
    """Versions count up, the newest is in force, and every account is published with it before the answer."""
    await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F"})
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    assert (await published_terms(core, tenant, "u"))["f"].rates == []
    for version, amount in enumerate((1, 2, 3), 1):
        made = await tenant.sandbox.made("/v1/features/f/prices", {"kind": "flat", "amount": amount})
        assert (made["version"], made["feature_key"], made["price"]["amount"]) == (version, "f", amount)
        terms = (await published_terms(core, tenant, "u"))["f"]
        assert terms.rates == always(parse("price", made["price_id"]), FlatPrice(amount * MICRO))
        assert terms.included
    assert (await tenant.sandbox.read("/v1/features/f"))["price"] == {"kind": "flat", "amount": 3}
    listed = await tenant.sandbox.read("/v1/features/f/prices", limit=2)
    assert [row["version"] for row in listed["data"]] == [3, 2]
    rest = await tenant.sandbox.read("/v1/features/f/prices", cursor=listed["next_cursor"])
    assert [row["version"] for row in rest["data"]] == [1]


async def test_a_feature_that_there_is_not(tenant: Tenant) -> None:
    """404 wherever it is named."""
    for path in ("/v1/features/none", "/v1/features/none/prices"):
        assert_problem(await tenant.sandbox.get(path), Code.UNKNOWN_FEATURE)
    answer = await tenant.sandbox.post("/v1/features/none/prices", {"kind": "flat", "amount": 1})
    assert_problem(answer, Code.UNKNOWN_FEATURE)
