"""Features and what they cost."""

import asyncio
from typing import Any

import msgspec
import pytest

from app.metering.service import MAX_READERS
from app.rules.credits import MICRO
from app.rules.pricing import FlatPrice, always
from app.wire.codes import Code
from app.wire.ids import parse
from app.wire.snapshot import FeatureTerms, PlanSnapshot, decode_plan
from tests.app.core import Client, Core, Tenant
from tests.app.web.test_problems import assert_problem


async def published_plan(core: Core, tenant: Tenant, end_user_id: str) -> PlanSnapshot:
    """What the edge knows of the catalogue, by way of one customer's account."""
    view = await core.parts.redis.read_account(tenant.environment_id, end_user_id)
    assert view is not None
    await core.edge.post(
        "/internal/plans/load", {"environment_id": str(tenant.environment_id), "snapshot_id": view.snapshot_id}
    )
    return decode_plan(await core.parts.redis.client.get(b"plan:" + view.snapshot_id.encode()))


async def published_terms(core: Core, tenant: Tenant, end_user_id: str) -> dict[str, FeatureTerms]:
    """What the edge knows of the features."""
    return (await published_plan(core, tenant, end_user_id)).features


async def test_making_and_finding(tenant: Tenant) -> None:
    """With and without a price; listed by key."""
    price = {"kind": "per_unit", "amount": 0.5, "per": 1000}
    tokens = await tenant.sandbox.made("/v1/features", {"key": "tokens", "name": "Tokens", "price": price})
    assert tokens["feature_id"].startswith("feat_")
    assert (tokens["kind"], tokens["price"], tokens["limit"]) == ("metered", price, None)
    assert tokens["price_id"].startswith("price_")
    calls = await tenant.sandbox.made(
        "/v1/features", {"key": "calls", "name": "Calls", "kind": "metered", "limit": 9.5}
    )
    assert (calls["price"], calls["price_id"], calls["limit"]) == (None, None, 9.5)
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


@pytest.mark.parametrize("limit", [-1, 0.0000001, 9_007_199_254.740992, True, "5"])
async def test_limits_that_cannot_be(tenant: Tenant, limit: Any) -> None:
    """A limit is a number of units from nothing to as many as are counted exactly."""
    answer = await tenant.sandbox.post("/v1/features", {"key": "f", "name": "F", "limit": limit})
    is_number = isinstance(limit, (int, float)) and limit is not True
    assert_problem(answer, Code.INVALID_VALUE if is_number else Code.INVALID_BODY, "limit")


async def test_a_limit_that_changes(core: Core, tenant: Tenant) -> None:
    """It is set, left as it is and taken away, and every account hears of it before the answer."""
    await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F"})
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    for change, limit in (({"limit": 5}, 5), ({"name": "G"}, 5), ({"limit": 0.5}, 0.5), ({"limit": None}, None)):
        answer = await tenant.sandbox.send("PATCH", "/v1/features/f", json=change)
        assert (answer.status_code, answer.json()["limit"]) == (200, limit)
        terms = (await published_terms(core, tenant, "u"))["f"]
        assert terms.limit_units_micro == (None if limit is None else limit * 1_000_000)
    refused = await tenant.sandbox.send("PATCH", "/v1/features/f", json={"limit": -1})
    assert_problem(refused, Code.INVALID_VALUE, "limit")


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


# ---- CloudEvents


async def change(client: Client, feature_key: str, **body: Any) -> Any:
    """PATCH a feature."""
    return await client.send("PATCH", f"/v1/features/{feature_key}", content=msgspec.json.encode(body))


async def test_what_a_feature_reads_is_known_at_once(core: Core, tenant: Tenant) -> None:
    """Made with a type or given one later, changed and taken away: shown, and published before the answer."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    reading = {"event_type": "llm.call", "units_from": "usage.total_tokens"}
    made = await tenant.sandbox.made("/v1/features", {"key": "tokens", "name": "Tokens", **reading})
    assert {name: made[name] for name in reading} == reading
    assert (await published_plan(core, tenant, "u")).event_types == {"llm.call": {"tokens": "usage.total_tokens"}}
    calls = await tenant.sandbox.made("/v1/features", {"key": "calls", "name": "Calls"})
    assert (calls["event_type"], calls["units_from"]) == (None, None)
    changed = await change(tenant.sandbox, "calls", event_type="llm.call")
    assert (changed.status_code, changed.json()) == (200, calls | {"event_type": "llm.call"})
    both = {"llm.call": {"tokens": "usage.total_tokens", "calls": None}}
    assert (await published_plan(core, tenant, "u")).event_types == both
    assert (await change(tenant.sandbox, "tokens", units_from=None)).json()["units_from"] is None
    assert (await change(tenant.sandbox, "tokens", units_from="n")).json() == made | {"units_from": "n"}
    away = (await change(tenant.sandbox, "tokens", event_type=None)).json()
    assert away == made | {"event_type": None, "units_from": None}
    assert await tenant.sandbox.read("/v1/features/tokens") == away
    assert (await published_plan(core, tenant, "u")).event_types == {"llm.call": {"calls": None}}


async def test_a_feature_may_get_another_name(core: Core, tenant: Tenant) -> None:
    """Nothing else of it changes, and nothing is published; with nothing to change it stays."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    price = {"kind": "flat", "amount": 1}
    made = await tenant.sandbox.made(
        "/v1/features", {"key": "f", "name": "F", "price": price, "event_type": "t", "units_from": "n"}
    )
    before = await core.parts.redis.read_account(tenant.environment_id, "u")
    assert (await change(tenant.sandbox, "f", name="G")).json() == made | {"name": "G"}
    assert (await change(tenant.sandbox, "f")).json() == made | {"name": "G"}
    assert await core.parts.redis.read_account(tenant.environment_id, "u") == before


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"event_type": ""}, "event_type"),
        ({"event_type": "x" * 257}, "event_type"),
        ({"event_type": "a\nb"}, "event_type"),
        ({"units_from": "units"}, "units_from"),
        ({"event_type": None, "units_from": "units"}, "units_from"),
        ({"event_type": "t", "units_from": ""}, "units_from"),
        ({"event_type": "t", "units_from": "x" * 257}, "units_from"),
        ({"event_type": "t", "units_from": "usage..total"}, "units_from"),
        ({"event_type": "t", "units_from": ".total"}, "units_from"),
        ({"event_type": "t", "units_from": "a.b.c.d.e.f.g.h.i"}, "units_from"),
        ({"event_type": "t", "units_from": "total."}, "units_from"),
        ({"event_type": "t", "units_from": "a\tb"}, "units_from"),
    ],
)
async def test_what_cannot_be_read(tenant: Tenant, changed: dict[str, Any], field: str) -> None:
    """Refused by name, when the feature is made as when it is changed."""
    made = await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F"})
    answer = await tenant.sandbox.post("/v1/features", {"key": "g", "name": "G", **changed})
    assert_problem(answer, Code.INVALID_VALUE, field)
    assert_problem(await change(tenant.sandbox, "f", **changed), Code.INVALID_VALUE, field)
    assert (await tenant.sandbox.read("/v1/features"))["data"] == [made]


async def test_so_many_features_read_a_type_and_no_more(tenant: Tenant) -> None:
    """However many ask at once; one that reads it already may change, and another type is another matter."""
    features = [{"key": f"f{number}", "name": "F", "event_type": "t"} for number in range(MAX_READERS + 5)]
    answers = await asyncio.gather(*(tenant.sandbox.post("/v1/features", feature) for feature in features))
    made = [answer.json()["key"] for answer in answers if answer.status_code == 201]
    assert len(made) == MAX_READERS
    for answer in answers:
        if answer.status_code != 201:
            assert_problem(answer, Code.INVALID_VALUE, "event_type")
    assert (await change(tenant.sandbox, made[0], units_from="n")).status_code == 200
    other = await tenant.sandbox.made("/v1/features", {"key": "other", "name": "O", "event_type": "t2"})
    assert other["event_type"] == "t2"
    assert_problem(await change(tenant.sandbox, "other", event_type="t"), Code.INVALID_VALUE, "event_type")


async def test_a_change_of_what_there_is_not(tenant: Tenant) -> None:
    """404 for the key; what cannot be changed is refused by name."""
    assert_problem(await change(tenant.sandbox, "none", name="X"), Code.UNKNOWN_FEATURE)
    await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F"})
    assert_problem(await change(tenant.sandbox, "f", key="g"), Code.UNKNOWN_FIELD, "key")
    assert_problem(await change(tenant.sandbox, "f", name=None), Code.INVALID_BODY, "name")
    assert_problem(await change(tenant.live, "f", name="X"), Code.UNKNOWN_FEATURE)
