"""What is counted for whom, and in which periods, as the edge hears of it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from app.embedded.valkey import EmbeddedValkey
from app.entitlements.counting import counting_from
from app.rules.moments import NEVER_AT, to_at
from app.rules.periods import Counting, Period
from app.wire import keys
from tests.app.core import Core, Tenant, open_core
from tests.app.entitlements.subscribing import Subscribing, make_variant
from tests.app.metering.test_features import published_terms
from tests.app.subscriptions.test_billing_zone import StoppedClock
from tests.conftest import DatabaseUrls
from tests.rules.laws import LAW

FEATURE = {"key": "calls", "name": "Calls", "price": {"kind": "per_unit", "amount": 1}}
NOTHING = [None, None, None]
NOW, MONTH = datetime(2026, 1, 31, 9, tzinfo=UTC), timedelta(days=28)
moments = st.integers(to_at(datetime(2026, 1, 1, tzinfo=UTC)), to_at(datetime(2030, 1, 1, tzinfo=UTC)))


async def counting(core: Core, tenant: Tenant, end_user_id: str) -> list[int | None]:
    """Where the account's period begins and ends, and when it next changes by itself."""
    ref = keys.account_ref(keys.environment_ref(tenant.environment_id), end_user_id)
    account = keys.account(core.parts.redis.partition(ref), ref)
    found = await core.parts.redis.client.hmget(account, "period", "resets_at", "valid_until")
    assert found[2] is not None, "the account is loaded"
    period, resets_at, valid_until = (None if value is None else int(value) for value in found)
    return [period, resets_at, None if valid_until == 2**53 - 1 else valid_until]


def berlin(month: int, day: int, hour: int = 0) -> int:
    """A moment of 2026 in Berlin."""
    return to_at(datetime(2026, month, day, hour, tzinfo=ZoneInfo("Europe/Berlin")))


async def test_whose_units_are_counted_when(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """With a default limit everybody's, by calendar months of the billing zone; of subscribers by their periods."""
    async with open_core(urls, valkey.url, StoppedClock(NOW), billing_timezone="Europe/Berlin") as core:
        tenant = await core.tenant()
        await tenant.sandbox.made("/v1/customers", {"end_user_id": "free"})
        await tenant.sandbox.made("/v1/features", FEATURE)
        assert await counting(core, tenant, "free") == NOTHING
        variant = await make_variant(tenant, "pro", features=[{"feature_key": "calls", "limit": 100}])
        subscribing = Subscribing(core, tenant, urls)
        await subscribing.make_customer("paying")
        end_at = NOW + MONTH
        await subscribing.subscribe("paying", variant, "active", NOW, end_at)
        assert await counting(core, tenant, "paying") == [to_at(NOW), to_at(end_at), None]
        assert await counting(core, tenant, "free") == NOTHING
        await tenant.sandbox.made("/v1/features", {**FEATURE, "key": "other", "limit": 5})
        months = [berlin(1, 1), berlin(2, 1)]
        assert await counting(core, tenant, "free") == [*months, months[1]]
        assert await counting(core, tenant, "paying") == [to_at(NOW), to_at(end_at), None]


async def test_credit_that_ends_sooner_is_the_nearer_boundary(core: Core, tenant: Tenant) -> None:
    """An account changes by itself when its period ends, or a block before that, whichever came first."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    soon = to_at(core.parts.clock.now()) // 1_000_000 * 1_000_000 + 60_000_000
    grant = {"end_user_id": "u", "amount": 5, "expires_at": datetime.fromtimestamp(soon // 1_000_000, UTC).isoformat()}
    await tenant.sandbox.made("/v1/credits/grants", grant)
    await tenant.sandbox.made("/v1/features", {**FEATURE, "limit": 5})
    period, resets_at, valid_until = await counting(core, tenant, "u")
    assert period is not None
    assert valid_until == min(soon, resets_at or 0)


async def test_which_limit_holds(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """The variant's own before the feature's default; overage is limited where the policy is said."""
    await tenant.sandbox.made("/v1/features", {**FEATURE, "limit": 5})
    subscribing = Subscribing(core, tenant, urls)
    own = {"limit": 0, "overage_policy": "allow", "overage_limit": 7}
    for name, terms in (("plain", {}), ("own", own)):
        variant = await make_variant(tenant, name, features=[{"feature_key": "calls", **terms}])
        await subscribing.make_customer(name)
        await subscribing.subscribe(name, variant, "active", NOW, NOW + MONTH)
    await subscribing.make_customer("none")
    found = {name: (await published_terms(core, tenant, name))["calls"] for name in ("none", "plain", "own")}
    limits = {name: (terms.limit_units_micro, terms.overage_limit_micro) for name, terms in found.items()}
    assert limits == {"none": (5_000_000, None), "plain": (5_000_000, None), "own": (0, 7_000_000)}


async def test_how_far_overage_goes(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """A variant's limit is of its policy; a feature with a policy of its own has its own limit, or none."""
    for key in "abcd":
        await tenant.sandbox.made("/v1/features", {**FEATURE, "key": key})
    features: list[dict[str, Any]] = [
        {"feature_key": "a"},
        {"feature_key": "b", "overage_limit": 2},
        {"feature_key": "c", "overage_policy": "notify"},
        {"feature_key": "d", "overage_policy": "block"},
    ]
    variant = await make_variant(tenant, "pro", overage_policy="allow", overage_limit=9, features=features)
    subscribing = Subscribing(core, tenant, urls)
    await subscribing.make_customer("u")
    await subscribing.subscribe("u", variant, "active", NOW, NOW + MONTH)
    terms = await published_terms(core, tenant, "u")
    assert [terms[key].overage_limit_micro for key in "abcd"] == [9_000_000, 2_000_000, None, None]
    assert [terms[key].overage_policy for key in "abcd"] == ["allow", "allow", "notify", "block"]


@LAW
@given(moments, moments, moments)
def test_whose_period_it_is(first: int, later: int, end_at: int) -> None:
    """Composition never turns a month, which the flusher does in its place; a subscription's period is as it says."""
    begun = counting_from(None, None, "Europe/Berlin", first)
    assert begun.period.start_at <= first < begun.period.end_at == begun.turns_at
    assert counting_from(begun, None, "Europe/Berlin", later) == begun
    elsewhere = counting_from(begun, None, "Asia/Tokyo", later)
    assert elsewhere.period.start_at <= later < elsewhere.period.end_at
    own = Period(first, end_at)
    subscribed = counting_from(begun, own, "Europe/Berlin", later)
    assert (subscribed, subscribed.turns_at) == (Counting(None, own), NEVER_AT)
    after = counting_from(subscribed, None, "Europe/Berlin", later)
    assert after.period.start_at <= later < after.period.end_at
