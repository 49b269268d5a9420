"""What the edge hears of a customer's subscriptions and overrides, composed on real servers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.rules.entitlement import Standing
from app.rules.moments import to_at
from app.wire.snapshot import PlanSnapshot
from tests.app.core import Core, Tenant
from tests.app.entitlements.subscribing import Subscribing, make_variant
from tests.app.entitlements.test_counting import FEATURE, counting
from tests.app.metering.test_features import published_plan, published_terms
from tests.conftest import DatabaseUrls

START, END = datetime(2026, 1, 31, 9, tzinfo=UTC), datetime(2026, 2, 28, 9, tzinfo=UTC)
OVERRIDE = "/v1/customers/u/overrides/calls"


@pytest.fixture
def subscribing(core: Core, tenant: Tenant, urls: DatabaseUrls) -> Subscribing:
    """Subscribes customers of the test's tenant."""
    return Subscribing(core, tenant, urls)


async def make_features(tenant: Tenant) -> None:
    """Usage, a gauge and a switch, none of them limited."""
    await tenant.sandbox.made("/v1/features", FEATURE)
    await tenant.sandbox.made("/v1/features", {"key": "seats", "name": "Seats", "kind": "gauge"})
    switch = {"key": "sso", "name": "SSO", "kind": "boolean", "default_value": False}
    await tenant.sandbox.made("/v1/features", switch)


def calls(limit: int) -> dict[str, Any]:
    """`calls` in a plan."""
    return {"feature_key": "calls", "limit": limit}


async def test_addons_beside_a_base(subscribing: Subscribing) -> None:
    """They add to it as long as they are in force; the one that ends takes along what it gave, and nothing else."""
    core, tenant = subscribing.core, subscribing.tenant
    await make_features(tenant)
    seats = {"feature_key": "seats", "value": 2}
    base = await make_variant(tenant, "pro", features=[calls(100), {"feature_key": "seats", "value": 5}])
    more = await make_variant(tenant, "more", kind="addon", features=[calls(10), seats])
    extra = await make_variant(tenant, "extra", kind="addon", features=[{"feature_key": "sso", "value": True}])
    await subscribing.make_customer("u")
    await subscribing.subscribe("u", base, "active", START, END)
    addons = [await subscribing.subscribe("u", addon, "active", START, END) for addon in (more, more, extra)]
    terms = await published_terms(core, tenant, "u")
    assert (terms["calls"].limit_units_micro, terms["seats"].value, terms["sso"].value) == (120_000_000, "9", "true")
    assert terms["sso"].included
    for addon, state in zip(addons, ("paused", "canceled", "overdue"), strict=True):
        await subscribing.change("u", addon, state=state)
    terms = await published_terms(core, tenant, "u")
    assert (terms["calls"].limit_units_micro, terms["seats"].value, terms["sso"].value) == (100_000_000, "5", "false")
    assert not terms["sso"].included


async def test_an_addon_without_a_base(subscribing: Subscribing) -> None:
    """What it includes can be used beside the defaults; the customer is on no plan, and counts calendar months."""
    core, tenant = subscribing.core, subscribing.tenant
    await make_features(tenant)
    addon = await make_variant(tenant, "more", kind="addon", features=[{"feature_key": "seats", "value": 2}])
    await subscribing.make_customer("u")
    await subscribing.subscribe("u", addon, "active", START, END)
    plan = await published_plan(core, tenant, "u")
    assert not plan.subscribed
    assert (plan.features["seats"].included, plan.features["seats"].value) == (True, "2")
    assert plan.features["calls"].included
    assert (await subscribing.account("u"))["subscription_status"] == "none"


@pytest.mark.parametrize(
    ("state", "terms", "standing"),
    [
        ("trialing", {}, Standing.OK),
        ("active", {}, Standing.OK),
        ("paused", {}, Standing.SUBSCRIPTION_PAUSED),
        ("paused", {"usable_while_paused": True}, Standing.OK),
        ("paused", {"allow_usage_while_overdue": True}, Standing.SUBSCRIPTION_PAUSED),
        ("overdue", {}, Standing.SUBSCRIPTION_OVERDUE),
        ("overdue", {"allow_usage_while_overdue": True}, Standing.OK),
    ],
)
async def test_how_the_customer_stands(
    subscribing: Subscribing, state: str, terms: dict[str, Any], standing: Standing
) -> None:
    """By the state of the base and what its version lets be; the state is published as it is."""
    await make_features(subscribing.tenant)
    base = await make_variant(subscribing.tenant, "pro", features=[calls(100)], **terms)
    await subscribing.make_customer("u")
    await subscribing.subscribe("u", base, state, START, END)
    plan = await published_plan(subscribing.core, subscribing.tenant, "u")
    assert (plan.standing, plan.subscribed) == (standing, True)
    assert (await subscribing.account("u"))["subscription_status"] == state


@pytest.mark.parametrize("state", ["scheduled", "canceled", "expired"])
async def test_what_is_not_in_force_gives_nothing(subscribing: Subscribing, state: str) -> None:
    """Neither before it starts nor after it has ended."""
    await make_features(subscribing.tenant)
    base = await make_variant(subscribing.tenant, "pro", features=[calls(100)])
    await subscribing.make_customer("u")
    await subscribing.subscribe("u", base, state, START, END)
    assert not (await published_plan(subscribing.core, subscribing.tenant, "u")).subscribed


async def test_periods_of_a_subscription(subscribing: Subscribing) -> None:
    """Counted from where the subscription says to where it ends, also when that is past: no boundary comes of it."""
    core, tenant = subscribing.core, subscribing.tenant
    await make_features(tenant)
    base = await make_variant(tenant, "pro", features=[calls(100)])
    await subscribing.make_customer("u")
    subscription = await subscribing.subscribe("u", base, "active", START, END)
    assert await counting(core, tenant, "u") == [to_at(START), to_at(END), None]
    later = END + timedelta(days=28)
    await subscribing.change("u", subscription, counted_from=END, period_end_at=later, period_start_at=END)
    assert await counting(core, tenant, "u") == [to_at(END), to_at(later), None]
    await subscribing.change("u", subscription, state="canceled")
    assert await counting(core, tenant, "u") == [None, None, None]
    await tenant.sandbox.made("/v1/features", {**FEATURE, "key": "other", "limit": 5})
    period, resets_at, valid_until = await counting(core, tenant, "u")
    now = to_at(core.parts.clock.now())
    assert period is not None
    assert resets_at is not None
    assert period <= now < resets_at == valid_until


async def test_until_when_it_holds(subscribing: Subscribing) -> None:
    """Until the first override ends, and no longer; what subscriptions have on their agenda is kept beside it."""
    core, tenant = subscribing.core, subscribing.tenant
    await make_features(tenant)
    await subscribing.make_customer("u")
    soon = core.parts.clock.now().replace(microsecond=0) + timedelta(hours=1)

    async def put(path: str, **terms: Any) -> PlanSnapshot:
        answer = await tenant.sandbox.send("PUT", path, json=terms)
        assert answer.status_code == 200, answer.text
        return await published_plan(core, tenant, "u")

    await put("/v1/customers/u/overrides/seats", value=3, expires_at=(soon + timedelta(hours=1)).isoformat())
    await put(OVERRIDE, included=True, expires_at=soon.isoformat())
    assert (await counting(core, tenant, "u"))[2] == to_at(soon)
    for agenda_at, valid_until in (
        (soon - timedelta(minutes=5), soon - timedelta(minutes=5)),
        (END.replace(2099), soon),
    ):
        await set_agenda(subscribing, agenda_at)
        await put(OVERRIDE, included=False)
        await put(OVERRIDE, included=True, expires_at=soon.isoformat())
        assert (await counting(core, tenant, "u"))[2] == to_at(valid_until)
        await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 5})
        row = await subscribing.account("u")
        assert (row["valid_until"], row["agenda_at"], row["composed_until"]) == (valid_until, agenda_at, soon)


async def set_agenda(subscribing: Subscribing, at: datetime) -> None:
    """What the flusher writes when it has looked at the subscriptions."""

    async def work(tx: Any) -> None:
        await tx.connection.execute("UPDATE accounts SET agenda_at = $1", at)

    await subscribing.core.parts.database.run(subscribing.tenant.environment_id, work)
