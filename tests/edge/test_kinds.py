"""Checks of features that are not metered, many checks at once, and the listing of all features."""

from typing import Any

import pytest

from app.rules.credits import MICRO
from app.rules.entitlement import Standing
from app.rules.pricing import GraduatedPrice, PerUnitPrice, Tier, always
from app.wire import keys
from app.wire.snapshot import FeatureTerms
from tests.edge.kinds import acquire, plan_of_kinds
from tests.edge.world import PRICE_ID, Answer, Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODELS = {"best": "x-1", "ratio": 1.5}
CHECKED = ("allowed", "reason", "cost", "overage_policy", "value", "limit", "used")


@pytest.mark.parametrize(
    ("feature_key", "units", "expected"),
    [
        ("on", "1", (True, None, 0, None, True, None, None)),
        ("on", "0", (True, None, 0, None, True, None, None)),
        ("off", "1", (False, "feature_not_in_plan", 0, None, False, None, None)),
        ("models", "1", (True, None, 0, None, MODELS, None, None)),
        ("extra_models", "1", (False, "feature_not_in_plan", 0, None, None, None, None)),
        ("seats", "7", (True, None, 0, None, None, 10, 3)),
        ("seats", "7.000001", (False, "limit_reached", 0, None, None, 10, 3)),
        ("seats", "8", (False, "limit_reached", 0, None, None, 10, 3)),
        ("seats", "0", (True, None, 0, None, None, 10, 3)),
        ("runs", "1000000000", (True, None, 0, None, None, None, 0)),
        ("extra_seats", "1", (False, "feature_not_in_plan", 0, None, None, 5, 0)),
    ],
)
async def test_a_check(tenant: Tenant, feature_key: str, units: str, expected: tuple[Any, ...]) -> None:
    """Without any credit: a switch is on or off, a value is told where it may be used, a gauge has room or not."""
    await tenant.seed("u", 0, plan_of_kinds(tenant))
    await acquire(tenant, "u", "h", units=3)
    for _ in range(2):  # with a worker that knows the plan, and one that perhaps does not
        body = (await tenant.check("u", feature_key, units=units)).body
        assert tuple(body[name] for name in CHECKED) == expected


async def test_a_value_is_told_as_it_was_set(tenant: Tenant) -> None:
    """Digit for digit."""
    await tenant.seed("u", 0, plan_of_kinds(tenant))
    assert b'"value":{"best":"x-1","ratio":1.50},' in (await tenant.check("u", "models")).raw


async def test_a_paused_subscription_switches_everything_off(tenant: Tenant) -> None:
    """Switches are off and values untold; what is held is shown."""
    await tenant.seed("u", 0, plan_of_kinds(tenant))
    await acquire(tenant, "u", "h", units=3)
    paused = await tenant.put_plan(plan_of_kinds(tenant, standing=Standing.SUBSCRIPTION_PAUSED))
    await tenant.world.redis.hset(tenant.account_key("u"), "snapshot", paused)
    for feature_key, value, used in (("on", False, None), ("models", None, None), ("seats", None, 3)):
        body = (await tenant.check("u", feature_key)).body
        assert (body["reason"], body["value"], body["used"]) == ("subscription_paused", value, used)


# ---- many at once


async def check_many(tenant: Tenant, *checks: Any) -> Answer:
    """`POST /v1/entitlements/check`."""
    return await tenant.send("POST", "/v1/entitlements/check", json={"checks": checks})


async def test_results_come_in_order(tenant: Tenant) -> None:
    """Of several customers and kinds, each as a check by itself answers; an item that is none harms no other."""
    await tenant.seed("rich", 1000, plan_of_kinds(tenant))
    await tenant.seed("poor", 0, plan_of_kinds(tenant))
    good = [
        {"end_user_id": user, "feature_key": key, "units": units}
        for user in ("rich", "poor", "nobody")
        for key, units in (("api_calls", 5), ("tokens", 0.5), ("seats", 11), ("models", 1), ("no-such", 0))
    ]
    bad = [
        ({"end_user_id": "rich"}, "invalid_body"),
        ({"end_user_id": "rich", "feature_key": "api_calls", "units": -1}, "invalid_units"),
        ({"end_user_id": "rich", "feature_key": "api_calls", "unit": 1}, "unknown_field"),
        ({"end_user_id": "", "feature_key": "api_calls"}, "invalid_value"),
        ({"end_user_id": "rich", "feature_key": "api_calls", "properties": []}, "invalid_body"),
        (7, "invalid_body"),
    ]
    checks = [*good, *(item for item, _ in bad)]
    answer = await check_many(tenant, *checks)
    assert answer.status == 200
    results = answer.body["results"]
    assert results[: len(good)] == [(await tenant.check(**check)).body for check in good]
    for (_, code), result in zip(bad, results[len(good) :], strict=True):
        assert (result["allowed"], result["code"]) == (None, code)
        assert result["detail"]


async def test_properties_may_be_sent(tenant: Tenant) -> None:
    """As with usage: a price may depend on them."""
    await tenant.seed("u", 10)
    check = {"end_user_id": "u", "feature_key": "api_calls", "properties": {"model": "x"}}
    assert (await check_many(tenant, check)).body["results"][0]["allowed"] is True


async def test_a_hundred_and_no_more(tenant: Tenant) -> None:
    """Results for a hundred; none, and one more, are refused."""
    await tenant.seed("u", 10)
    check = {"end_user_id": "u", "feature_key": "api_calls"}
    assert len((await check_many(tenant, *[check] * 100)).body["results"]) == 100
    assert (await check_many(tenant, *[check] * 101)).body["code"] == "batch_too_large"
    assert (await check_many(tenant)).body["code"] == "invalid_value"


async def test_accounts_that_are_not_loaded(tenant: Tenant) -> None:
    """They are loaded; where core cannot do that, their checks have no answer, and the others have theirs."""

    async def load(question: Any) -> str:
        if question["end_user_id"] == "stuck":
            return "busy"
        await tenant.seed(question["end_user_id"], 10)
        return "loaded"

    tenant.world.core.answers["accounts"] = load
    stuck, late = ({"end_user_id": name, "feature_key": "api_calls"} for name in ("stuck", "late"))
    results = (await check_many(tenant, stuck, late)).body["results"]
    assert [results[0]["code"], results[1]["allowed"]] == ["account_loading", True]
    answer = await check_many(tenant, stuck, stuck)
    assert (answer.status, answer.body["code"]) == (503, "account_loading")
    assert answer.headers["Retry-After"]


# ---- all of them


async def listing(tenant: Tenant, end_user_id: str, **headers: str) -> Answer:
    """`GET /v1/entitlements`; keyword arguments are headers with underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await tenant.send("GET", "/v1/entitlements", params={"end_user_id": end_user_id}, headers=named)


async def test_all_features_are_listed(tenant: Tenant) -> None:
    """Each says what a check of one unit says, and the account's figures stand above them."""
    plan = plan_of_kinds(tenant)
    await tenant.seed("u", 5, plan)
    await acquire(tenant, "u", "h", units=3)
    body = (await listing(tenant, "u")).body
    assert body.keys() == {"end_user_id", "balance", "reserved", "subscription_status", "features", "version"}
    assert body["features"].keys() == plan.features.keys()
    for feature_key, shown in body["features"].items():
        alone = (await tenant.check("u", feature_key)).body
        above = {name: alone.pop(name) for name in ("balance", "reserved", "subscription_status", "version")}
        assert alone.pop("feature_key") == feature_key
        assert (shown, {name: body[name] for name in above}) == (alone, above)
    assert body["end_user_id"] == "u"
    assert body["features"]["image"]["reason"] == "insufficient_credits"


async def test_a_listing_prices_by_what_was_used(tenant: Tenant) -> None:
    """A graduated price goes by the period's units, here as in a check."""
    price = GraduatedPrice((Tier(10, 2 * MICRO), Tier(None, MICRO)))
    await tenant.seed("u", 50, tenant.plan(staged=FeatureTerms(always(PRICE_ID, price), included=True)))
    counters = keys.used(tenant.partition("u"), keys.account_ref(tenant.ref, "u"))
    for used, cost in ((0, 2), (12, 1)):
        await tenant.world.redis.hset(counters, "staged", used * MICRO)
        shown = (await listing(tenant, "u")).body["features"]["staged"]
        assert (shown["cost"], (await tenant.check("u", "staged")).body["cost"]) == (cost, cost)


async def test_the_tag_changes_with_the_figures(tenant: Tenant) -> None:
    """304 without a body as long as nothing has changed; usage, holders, plans and revisions change it."""
    await tenant.seed("u", 100, plan_of_kinds(tenant))
    tags: list[str] = []

    async def renewed() -> None:
        tag = (await listing(tenant, "u")).headers["ETag"]
        assert tag not in tags
        assert tag.startswith('"')
        tags.append(tag)
        for sent in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            known = await listing(tenant, "u", If_None_Match=sent)
            assert (known.status, known.raw, known.headers["ETag"]) == (304, b"", tag)
        for stale in ('"other"', *tags[:-1]):
            assert (await listing(tenant, "u", If_None_Match=stale)).status == 200

    await renewed()
    await tenant.use("u", "api_calls")
    await renewed()
    await acquire(tenant, "u", "h")
    await renewed()
    await tenant.world.redis.hset(tenant.account_key("u"), "revision", 4)
    await renewed()
    await tenant.world.redis.hset(tenant.account_key("u"), "snapshot", await tenant.put_plan(tenant.plan()))
    await renewed()


async def test_a_304_leaves_the_connection_usable(tenant: Tenant) -> None:
    """It has no body, whatever its length says: the next answer begins behind its head."""
    await tenant.seed("u", 100)
    tag = (await listing(tenant, "u")).headers["ETag"]
    for _ in range(3):
        assert (await listing(tenant, "u", If_None_Match=tag)).status == 304
        assert (await tenant.check("u")).status == 200
    head = await tenant.send("HEAD", "/v1/entitlements", params={"end_user_id": "u"})
    assert (head.status, head.headers["ETag"]) == (200, tag)


async def test_nobody_has_no_listing(tenant: Tenant) -> None:
    """404; a query that is none is refused by name."""
    assert (await listing(tenant, "nobody")).body["code"] == "unknown_customer"
    for query, code in (
        ("", "invalid_body"),
        ("?end_user_id=u&x=1", "unknown_field"),
        ("?end_user_id=", "invalid_value"),
    ):
        assert (await tenant.send("GET", f"/v1/entitlements{query}")).body["code"] == code


async def test_the_listing_waits_at_a_boundary(tenant: Tenant) -> None:
    """What is due is asked for with a tick, and nothing is said before it is posted."""
    await tenant.seed("u", 100, valid_until=1)
    answer = await listing(tenant, "u")
    assert (answer.status, answer.body["code"]) == (503, "account_unavailable")
    assert [entry[b"k"] for entry in await tenant.entries("u")] == [b"t"]


async def test_a_dear_feature_does_not_spoil_the_listing(tenant: Tenant) -> None:
    """The dearest price that there can be is listed."""
    dear = FeatureTerms(always(PRICE_ID, PerUnitPrice(10**9 * MICRO)), included=True)
    await tenant.seed("u", 1, tenant.plan(dear=dear))
    assert (await listing(tenant, "u")).body["features"]["dear"]["cost"] == 10**9
