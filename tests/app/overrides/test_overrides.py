"""What one customer has of a feature in place of what their plan says."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from app.embedded.valkey import EmbeddedValkey
from app.io.clock import Clock
from app.rules.entitlement import refusal_of_access
from app.wire.codes import Code
from app.wire.snapshot import FeatureTerms
from tests.app.core import Core, Tenant, open_core
from tests.app.metering.test_features import published_plan, published_terms
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.usefixtures("flusher")
FAR = "2099-01-01T00:00:00Z"
PRICE = {"kind": "flat", "amount": 1}
FEATURES: list[dict[str, Any]] = [
    {"key": "calls", "price": PRICE},
    {"key": "bare", "kind": "metered"},
    {"key": "seats", "kind": "gauge"},
    {"key": "sso", "kind": "boolean", "default_value": False},
    {"key": "models", "kind": "static", "default_value": ["small"]},
]
SHOWN = {"included": None, "overage_policy": None, "overage_limit": None, "expires_at": None, "expired": False}


class SetClock(Clock):
    """Shows the moment that it was set to."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """That moment."""
        return self.moment


async def make_customers(tenant: Tenant, *end_user_ids: str) -> None:
    """The features, a plan with limits that has `calls` and `seats`, and customers on it; `free` is on none."""
    for feature in FEATURES:
        await tenant.sandbox.made("/v1/features", {"name": feature["key"], **feature})
    await tenant.sandbox.made("/v1/plans", {"key": "pro", "name": "Pro"})
    included = [{"feature_key": "calls", "limit": 100}, {"feature_key": "seats", "value": 10}]
    body = {"key": "m", "interval": "month", "overage_policy": "allow", "overage_limit": 9, "features": included}
    variant = (await tenant.sandbox.made("/v1/plans/pro/variants", body))["plan_variant_id"]
    for end_user_id in end_user_ids:
        body = {"end_user_id": end_user_id, "plan_variant_id": variant}
        await tenant.sandbox.made("/v1/subscriptions", body)
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "free"})


def path(end_user_id: str, feature_key: str) -> str:
    """Where the override is."""
    return f"/v1/customers/{end_user_id}/overrides/{feature_key}"


async def put(tenant: Tenant, end_user_id: str, feature_key: str, **terms: Any) -> Any:
    """Set an override that can be; what is shown of it."""
    answer = await tenant.sandbox.send("PUT", path(end_user_id, feature_key), json=terms)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def may_use(core: Core, tenant: Tenant, end_user_id: str, feature_key: str) -> bool:
    """Whether the edge lets the customer at the feature, before it looks at limits and credit."""
    plan = await published_plan(core, tenant, end_user_id)
    return refusal_of_access(plan.access(feature_key)) is None


@pytest.mark.parametrize(
    ("feature_key", "terms"),
    [
        ("calls", {"limit": 0}),
        ("calls", {"limit": None}),
        ("calls", {"limit": 2.5, "expires_at": FAR}),
        ("calls", {"overage_policy": "block"}),
        ("calls", {"overage_policy": "notify", "overage_limit": 5}),
        ("calls", {"included": False}),
        ("bare", {"included": True, "limit": 5}),
        ("seats", {"value": None}),
        ("seats", {"value": 25}),
        ("sso", {"value": True, "included": True}),
        ("models", {"value": {"any": [1.5, "ä", None]}, "included": True, "expires_at": FAR}),
    ],
)
async def test_shown_as_it_was_set(tenant: Tenant, feature_key: str, terms: dict[str, Any]) -> None:
    """In the answer, when it is read, and once more when it is taken away; then there is none."""
    await make_customers(tenant, "u")
    made = await put(tenant, "u", feature_key, **terms)
    updated_at = made.pop("updated_at")
    assert made == SHOWN | {"end_user_id": "u", "feature_key": feature_key} | terms
    assert await tenant.sandbox.read(path("u", feature_key)) == made | {"updated_at": updated_at}
    answer = await tenant.sandbox.send("DELETE", path("u", feature_key))
    assert (answer.status_code, answer.json()) == (200, made | {"updated_at": updated_at})
    for method in ("GET", "DELETE"):
        assert_problem(await tenant.sandbox.send(method, path("u", feature_key)), Code.NOT_FOUND)


async def test_it_beats_the_plan_until_it_is_taken_away(core: Core, tenant: Tenant) -> None:
    """The edge knows before each answer; what was not set stays the plan's, and so does everything of others."""
    await make_customers(tenant, "u", "other")
    plans = await published_terms(core, tenant, "other")
    assert await published_terms(core, tenant, "u") == plans
    await put(tenant, "u", "calls", limit=500)
    await put(tenant, "u", "seats", value=25)
    own = await published_terms(core, tenant, "u")
    assert (own["calls"].limit_units_micro, own["calls"].overage_limit_micro) == (500_000_000, 9_000_000)
    assert (own["seats"].value, own["seats"].included) == ("25", True)
    await put(tenant, "u", "calls", overage_policy="notify")
    own = await published_terms(core, tenant, "u")
    assert (own["calls"].limit_units_micro, own["calls"].overage_limit_micro) == (100_000_000, None)
    assert own["calls"].overage_policy == "notify"
    assert await published_terms(core, tenant, "other") == plans
    for feature_key in ("calls", "seats"):
        assert (await tenant.sandbox.send("DELETE", path("u", feature_key))).status_code == 200
    assert await published_terms(core, tenant, "u") == plans


@pytest.mark.parametrize("end_user_id", ["u", "free"])
async def test_a_feature_is_given_and_taken(core: Core, tenant: Tenant, end_user_id: str) -> None:
    """On a plan and on none. What has neither price nor value cannot be used, whoever includes it."""
    await make_customers(tenant, "u")
    before = {key: await may_use(core, tenant, end_user_id, key) for key in ("calls", "models", "sso", "bare")}
    assert before == {"calls": True, "models": end_user_id == "free", "sso": False, "bare": False}
    await put(tenant, end_user_id, "calls", included=False)
    await put(tenant, end_user_id, "models", included=True)
    await put(tenant, end_user_id, "sso", included=True, value=True)
    await put(tenant, end_user_id, "bare", included=True)
    after = {key: await may_use(core, tenant, end_user_id, key) for key in before}
    assert after == {"calls": False, "models": True, "sso": True, "bare": False}


async def test_a_limit_of_ones_own_is_counted(core: Core, tenant: Tenant) -> None:
    """Where nothing was counted a period begins, and without the limit it ends."""
    await make_customers(tenant)
    assert not (await published_plan(core, tenant, "free")).counts
    await put(tenant, "free", "calls", limit=5)
    assert (await published_terms(core, tenant, "free"))["calls"].limit_units_micro == 5_000_000
    assert (await published_plan(core, tenant, "free")).counts
    await put(tenant, "free", "calls", limit=None)
    assert not (await published_plan(core, tenant, "free")).counts


async def test_equal_customers_share_a_snapshot(core: Core, tenant: Tenant) -> None:
    """Those without overrides do, and those with the same ones."""
    await make_customers(tenant, "a", "b", "c", "d", "e")
    for end_user_id, value in (("c", 3), ("d", 3), ("e", 4)):
        await put(tenant, end_user_id, "seats", value=value)
    names: dict[str, str] = {}
    for end_user_id in "abcde":
        view = await core.parts.redis.read_account(tenant.environment_id, end_user_id)
        assert view is not None
        names[end_user_id] = view.snapshot_id
    assert names["a"] == names["b"]
    assert names["c"] == names["d"]
    assert len(set(names.values())) == 3


async def test_those_set_at_once_are_all_there(core: Core, tenant: Tenant) -> None:
    """Of several features of one customer, whichever commits last."""
    await make_customers(tenant, "u")
    keys = [f"f{number}" for number in range(6)]
    for key in keys:
        await tenant.sandbox.made("/v1/features", {"key": key, "name": key, "kind": "gauge", "default_value": 1})
    await asyncio.gather(*[put(tenant, "u", key, value=7) for key in keys])
    terms = await published_terms(core, tenant, "u")
    assert [terms[key].value for key in keys] == ["7"] * 6


async def test_it_stays_with_a_change_of_the_catalogue(core: Core, tenant: Tenant) -> None:
    """Every account is composed anew, with what is its own; the feature's other terms follow the catalogue."""
    await make_customers(tenant, "u")
    await put(tenant, "u", "models", included=True)
    answer = await tenant.sandbox.send("PATCH", "/v1/features/models", json={"default_value": ["large"]})
    assert answer.status_code == 200
    own = (await published_terms(core, tenant, "u"))["models"]
    assert (own.value, own.included) == ('["large"]', True)


async def test_one_that_has_expired_is_left_out(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """From its moment on, when the customer is next composed; it can be read, set anew and taken away still."""
    clock = SetClock(datetime(2026, 1, 1, tzinfo=UTC))
    async with open_core(urls, valkey.url, clock) as core:
        tenant = await core.tenant()
        await make_customers(tenant, "u")

        async def composed() -> FeatureTerms:
            answer = await tenant.sandbox.send("PATCH", "/v1/features/sso", json={"default_value": True})
            assert answer.status_code == 200
            return (await published_terms(core, tenant, "u"))["calls"]

        expires_at = clock.moment + timedelta(hours=1)
        elsewhere = expires_at.astimezone(timezone(timedelta(hours=5)))
        made = await put(tenant, "u", "calls", limit=5, expires_at=elsewhere.isoformat())
        clock.moment = expires_at - timedelta(microseconds=1)
        assert (await composed()).limit_units_micro == 5_000_000
        clock.moment = expires_at
        assert (await composed()).limit_units_micro == 100_000_000
        assert await tenant.sandbox.read(path("u", "calls")) == made | {"expired": True}
        await put(tenant, "u", "calls", limit=6)
        assert (await composed()).limit_units_micro == 6_000_000


@pytest.mark.parametrize(
    ("feature_key", "terms", "code", "field"),
    [
        ("calls", {}, Code.INVALID_VALUE, "included"),
        ("calls", {"expires_at": FAR}, Code.INVALID_VALUE, "included"),
        ("calls", {"overage_limit": 5}, Code.INVALID_VALUE, "overage_limit"),
        ("calls", {"overage_limit": 5, "overage_policy": "block"}, Code.INVALID_VALUE, "overage_limit"),
        ("calls", {"overage_limit": -1, "overage_policy": "allow"}, Code.INVALID_VALUE, "overage_limit"),
        ("calls", {"overage_policy": "maybe"}, Code.INVALID_VALUE, "overage_policy"),
        ("calls", {"limit": -1}, Code.INVALID_VALUE, "limit"),
        ("calls", {"limit": 10**10}, Code.INVALID_VALUE, "limit"),
        ("calls", {"limit": 1, "expires_at": "2020-01-01T00:00:00Z"}, Code.INVALID_VALUE, "expires_at"),
        ("calls", {"limit": 1, "expires_at": "2300-01-01T00:00:00Z"}, Code.INVALID_VALUE, "expires_at"),
        ("calls", {"limit": 1, "expires_at": "2099-01-01T00:00:00"}, Code.INVALID_VALUE, "expires_at"),
        ("calls", {"included": 1}, Code.INVALID_BODY, "included"),
        ("calls", {"price": PRICE}, Code.UNKNOWN_FIELD, "price"),
        ("calls", {"value": 5}, Code.INVALID_VALUE, "value"),
        ("seats", {"value": -1}, Code.INVALID_VALUE, "value"),
        ("sso", {"value": "yes"}, Code.INVALID_VALUE, "value"),
        ("models", {"value": "x" * 4095}, Code.INVALID_VALUE, "value"),
        ("seats", {"limit": 5}, Code.FEATURE_NOT_METERED, "limit"),
        ("seats", {"limit": None}, Code.FEATURE_NOT_METERED, "limit"),
        ("sso", {"overage_policy": "allow"}, Code.FEATURE_NOT_METERED, "overage_policy"),
        ("none", {"limit": 5}, Code.UNKNOWN_FEATURE, None),
    ],
)
async def test_overrides_that_cannot_be(
    tenant: Tenant, feature_key: str, terms: dict[str, Any], code: Code, field: str | None
) -> None:
    """Each is refused by name, and nothing of it remains."""
    await make_customers(tenant, "u")
    assert_problem(await tenant.sandbox.send("PUT", path("u", feature_key), json=terms), code, field)
    missing = Code.UNKNOWN_FEATURE if feature_key == "none" else Code.NOT_FOUND
    assert_problem(await tenant.sandbox.get(path("u", feature_key)), missing)


async def test_how_far_away_an_end_may_be(tenant: Tenant) -> None:
    """The bound is named, and just before it is near enough."""
    await make_customers(tenant, "u")
    send = partial(tenant.sandbox.send, "PUT", path("u", "calls"))
    beyond = "2255-06-05T23:47:34.740991Z"
    problem = assert_problem(await send(json={"limit": 1, "expires_at": beyond}), Code.INVALID_VALUE, "expires_at")
    assert f"before {beyond}" in problem["errors"][0]["message"]
    assert (await send(json={"limit": 1, "expires_at": "2255-06-05T23:47:34.740990Z"})).status_code == 200


async def test_of_customers_there_are(tenant: Tenant) -> None:
    """Nobody is made by it, and another environment's customers and features are not there."""
    await make_customers(tenant, "u")
    for method in ("PUT", "GET", "DELETE"):
        body = {"json": {"limit": 5}} if method == "PUT" else {}
        answer = await tenant.sandbox.send(method, path("nobody", "calls"), **body)
        assert_problem(answer, Code.UNKNOWN_CUSTOMER)
        assert_problem(await tenant.live.send(method, path("u", "calls"), **body), Code.UNKNOWN_CUSTOMER)


async def test_under_a_key_it_is_set_and_taken_away_once(core: Core, tenant: Tenant) -> None:
    """A replay is answered as the first was, and changes nothing that came in between."""
    await make_customers(tenant, "u")
    headers = {"idempotency-key": "k"}

    async def twice(method: str, **options: Any) -> None:
        first = await tenant.sandbox.send(method, path("u", "seats"), headers=headers, **options)
        await put(tenant, "u", "seats", value=99)
        again = await tenant.sandbox.send(method, path("u", "seats"), headers=headers, **options)
        assert (first.status_code, first.content) == (again.status_code, again.content)
        assert again.headers["idempotent-replayed"] == "true"
        assert (await published_terms(core, tenant, "u"))["seats"].value == "99"

    await twice("PUT", json={"value": 5})
    await twice("DELETE")
