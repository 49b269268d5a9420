"""Features that are not metered: their values, by default and in plans, and what the edge is told of them."""

from typing import Any

import pytest

from app.rules.entitlement import FeatureKind, Standing
from app.wire.codes import Code
from app.wire.snapshot import FeatureTerms, PlanSnapshot, decode_plan
from tests.app.core import Core, Tenant
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.usefixtures("flusher")
PRICE = {"kind": "flat", "amount": 1}
DEEP = {"models": ["a", "b"], "ratio": 1.5, "note": "ä", "nothing": None}


async def published(core: Core, tenant: Tenant, end_user_id: str) -> PlanSnapshot:
    """What the edge knows of a customer's composition."""
    view = await core.parts.redis.read_account(tenant.environment_id, end_user_id)
    assert view is not None
    question = {"environment_id": str(tenant.environment_id), "snapshot_id": view.snapshot_id}
    await core.edge.post("/internal/plans/load", question)
    return decode_plan(await core.parts.redis.client.get(b"plan:" + view.snapshot_id.encode()))


async def subscribe(tenant: Tenant, end_user_id: str, *features: dict[str, Any]) -> None:
    """A customer on a plan of its own with these features."""
    await tenant.sandbox.made("/v1/plans", {"key": end_user_id, "name": "Plan"})
    terms = {"key": "monthly", "interval": "month", "features": list(features)}
    variant = await tenant.sandbox.made(f"/v1/plans/{end_user_id}/variants", terms)
    body = {"end_user_id": end_user_id, "plan_variant_id": variant["plan_variant_id"]}
    await tenant.sandbox.made("/v1/subscriptions", body)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("boolean", value) for value in (True, False)],
        *[("gauge", value) for value in (None, 0, 10, 10**9)],
        *[("static", value) for value in (DEEP, "text", 1.5, 0, [], True, None, "x" * 4094)],
    ],
)
async def test_values_that_a_feature_can_have(core: Core, tenant: Tenant, kind: str, value: Any) -> None:
    """By default and in a plan: shown as they were sent, and told to the edge; without any, there is none."""
    await tenant.sandbox.made("/v1/features", {"key": "bare", "name": "B", "kind": kind})
    made = await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F", "kind": kind, "default_value": value})
    assert (made["kind"], made["default_value"], made["price"]) == (kind, value, None)
    assert await tenant.sandbox.read("/v1/features/f") == made
    assert "default_value" not in await tenant.sandbox.read("/v1/features/bare")
    await subscribe(tenant, "u", {"feature_key": "bare", "value": value}, {"feature_key": "f"})
    [variant] = (await tenant.sandbox.read("/v1/plans/u/variants"))["data"]
    assert [feature.get("value", "none") for feature in variant["features"]] == [value, "none"]
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "free"})
    mine, theirs = await published(core, tenant, "u"), await published(core, tenant, "free")
    assert mine.features["f"] == mine.features["bare"] == theirs.features["f"]
    assert mine.features["f"].kind == FeatureKind(kind)
    assert theirs.features["bare"] == FeatureTerms([], included=False, kind=FeatureKind(kind))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("boolean", value) for value in (None, 0, "true")],
        *[("gauge", value) for value in (-1, 1.5, 10**9 + 1, True, "10")],
        *[("static", value) for value in ("x" * 4095, [0] * 2048)],
        *[("metered", value) for value in (1, None)],
    ],
)
async def test_values_that_it_cannot(tenant: Tenant, kind: str, value: Any) -> None:
    """Refused by name wherever one is set, and nothing is made or changed."""
    feature = {"key": "f", "name": "F", "kind": kind}
    answer = await tenant.sandbox.post("/v1/features", {**feature, "default_value": value})
    assert_problem(answer, Code.INVALID_VALUE, "default_value")
    made = await tenant.sandbox.made("/v1/features", feature)
    answer = await tenant.sandbox.send("PATCH", "/v1/features/f", json={"default_value": value})
    assert_problem(answer, Code.INVALID_VALUE, "default_value")
    await tenant.sandbox.made("/v1/plans", {"key": "p", "name": "P"})
    terms = {"key": "v", "interval": "month", "features": [{"feature_key": "f", "value": value}]}
    assert_problem(await tenant.sandbox.post("/v1/plans/p/variants", terms), Code.INVALID_VALUE, "features[0].value")
    assert await tenant.sandbox.read("/v1/features/f") == made


@pytest.mark.parametrize("kind", ["boolean", "static", "gauge"])
async def test_only_metered_features_have_prices_and_limits(tenant: Tenant, kind: str) -> None:
    """By default, as a later version, and in a plan."""
    feature = {"key": "f", "name": "F", "kind": kind}
    answer = await tenant.sandbox.post("/v1/features", {**feature, "price": PRICE})
    assert_problem(answer, Code.FEATURE_NOT_METERED, "price")
    await tenant.sandbox.made("/v1/features", feature)
    answer = await tenant.sandbox.post("/v1/features/f/prices", PRICE)
    assert_problem(answer, Code.FEATURE_NOT_METERED, "price")
    await tenant.sandbox.made("/v1/plans", {"key": "p", "name": "P"})
    for name, own in (("price", PRICE), ("prices", [PRICE]), ("limit", 5), ("overage_limit", 5)):
        beside = {"overage_policy": "allow"} if name == "overage_limit" else {}
        terms = {"key": "v", "interval": "month", "features": [{"feature_key": "f", name: own, **beside}]}
        answer = await tenant.sandbox.post("/v1/plans/p/variants", terms)
        assert_problem(answer, Code.FEATURE_NOT_METERED, f"features[0].{name}")
    answer = await tenant.sandbox.send("PATCH", "/v1/features/f", json={"limit": 5})
    assert_problem(answer, Code.FEATURE_NOT_METERED, "limit")


async def test_another_default_is_known_at_once(core: Core, tenant: Tenant) -> None:
    """To those who have the default; a plan's own value stays. Name and value change each by itself."""
    await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F", "kind": "gauge", "default_value": 5})
    await subscribe(tenant, "own", {"feature_key": "f", "value": 7})
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "free"})
    answer = await tenant.sandbox.send("PATCH", "/v1/features/f", json={"default_value": None})
    assert (answer.status_code, answer.json()["default_value"], answer.json()["name"]) == (200, None, "F")
    renamed = await tenant.sandbox.send("PATCH", "/v1/features/f", json={"name": "Seats"})
    assert (renamed.json()["default_value"], renamed.json()["name"]) == (None, "Seats")
    assert (await published(core, tenant, "own")).features["f"].value == "7"
    assert (await published(core, tenant, "free")).features["f"].value == "null"
    answer = await tenant.sandbox.send("PATCH", "/v1/features/none", json={"name": "x"})
    assert_problem(answer, Code.UNKNOWN_FEATURE)


@pytest.mark.parametrize("state", ["scheduled", "trialing", "active", "paused", "overdue"])
async def test_the_standing_is_part_of_the_composition(
    core: Core, tenant: Tenant, urls: DatabaseUrls, state: str
) -> None:
    """It follows from the subscription's state; those of one standing share a snapshot, others have another."""
    await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F", "price": PRICE})
    await subscribe(tenant, "u", {"feature_key": "f"})
    before = await published(core, tenant, "u")
    async with connected(urls.owner) as connection:
        await connection.execute("UPDATE subscriptions SET state = $1", state)
    await tenant.sandbox.made("/v1/features", {"key": "g", "name": "G"})  # composes every account anew
    after = await published(core, tenant, "u")
    expected = {"paused": Standing.SUBSCRIPTION_PAUSED, "overdue": Standing.SUBSCRIPTION_OVERDUE}
    assert (before.standing, after.standing) == (Standing.OK, expected.get(state, Standing.OK))
    assert after.features["f"] == before.features["f"]
