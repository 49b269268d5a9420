"""Every verb of the Python SDK, on the running product, with both clients."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from quotastack import (
    AuthenticationError,
    ConflictError,
    EntitlementCheck,
    InsufficientCreditsError,
    LimitReachedError,
    NotEntitledError,
    NotFoundError,
    QuotaStackError,
    UsageRecorded,
    ValidationError,
    token_usage,
    usage_events,
)
from tests.flow.stack import drained
from tests.sdks.clients import KINDS, Kind, Python, python
from tests.sdks.conftest import CREDITS, REPORTS, SEATS, Shop


@pytest.fixture(params=KINDS)
async def client(request: pytest.FixtureRequest, shop: Shop) -> AsyncIterator[Python]:
    """A client of the shop, whose addresses come from its environment."""
    kind: Kind = request.param
    with pytest.MonkeyPatch.context() as environment:
        for name, value in shop.variables.items():
            environment.setenv(name, value)
        async with python(kind) as opened:
            yield opened


@pytest.fixture
def user() -> str:
    """A customer whom nobody else has, with an id that has to be encoded."""
    return f"user/{uuid4().hex[:8]} é"


@pytest.fixture
async def ada(client: Python, shop: Shop, user: str) -> str:
    """A customer on the plan."""
    await client.subscribe(user, shop.plan_variant_id)
    return user


async def test_the_three_steps(client: Python, shop: Shop, user: str) -> None:
    """Subscribe, check, record: what the check promised is what it costs."""
    subscription = await client.subscribe(user, shop.plan_variant_id)
    assert (subscription.state, subscription.end_user_id) == ("active", user)
    check: EntitlementCheck = await client.check_entitlement(user, "ai_request")
    assert (check.allowed, check.balance, check.cost, check.source) == (True, CREDITS, 1, "live")
    recorded: UsageRecorded = await client.record_usage(user, feature_key="ai_request", idempotency_key="r-1")
    assert (recorded.accepted, recorded.cost, recorded.balance, recorded.replayed) == (True, 1, CREDITS - 1, False)
    again: UsageRecorded = await client.record_usage(user, feature_key="ai_request", idempotency_key="r-1")
    assert (again.event_id, again.balance, again.replayed) == (recorded.event_id, recorded.balance, True)


async def test_checks(client: Python, ada: str) -> None:
    """One, many in their order, all; a check of nobody is answered, and a nonsensical one is refused."""
    answers = await client.check_entitlements(
        [
            {"end_user_id": ada, "feature_key": "ai_request", "units": CREDITS},
            {"end_user_id": ada, "feature_key": "ai_request", "units": CREDITS + 1},
            {"end_user_id": "nobody", "feature_key": "ai_request"},
            *[{"end_user_id": ada, "feature_key": "video"}] * 120,
        ]
    )
    assert [answer.allowed for answer in answers] == [True] + [False] * 122
    assert [answer.reason for answer in answers[1:4]] == [
        "insufficient_credits",
        "unknown_customer",
        "feature_not_in_plan",
    ]
    entitlements = await client.list_entitlements(ada)
    assert entitlements.balance == CREDITS
    assert entitlements.features["seats"].limit == SEATS
    priced = await client.check_entitlement(ada, "ai_request", units=2.5, properties={"model": "large"})
    assert (priced.units, priced.cost) == (2.5, 2.5)
    with pytest.raises(ValidationError) as refused:
        await client.check_entitlement(ada, "ai_request", units=-1)
    assert refused.value.code == "invalid_units"


async def test_usage_with_all_that_it_may_have(client: Python, ada: str) -> None:
    """A time of the caller's own, properties, fractions; and enforcement that refuses."""
    at = datetime.now(UTC) - timedelta(hours=1)
    recorded = await client.record_usage(
        ada, feature_key="api_calls", units=2.5, timestamp=at, properties={"model": "large"}, idempotency_key="k"
    )
    assert recorded.cost == 2.5
    with pytest.raises(ValidationError) as reused:
        await client.record_usage(ada, feature_key="api_calls", units=3, timestamp=at, idempotency_key="k")
    assert reused.value.code == "idempotency_key_reused"
    assert set(reused.value.mismatch) == {"units", "properties"}
    with pytest.raises(InsufficientCreditsError) as short:
        await client.record_usage(ada, feature_key="api_calls", units=CREDITS, enforce=True)
    assert short.value.context == {"balance": CREDITS - 2.5, "cost": CREDITS}
    with pytest.raises(LimitReachedError):
        await client.record_usage(ada, feature_key="reports", units=REPORTS + 1, enforce=True)
    with pytest.raises(NotEntitledError):
        await client.record_usage(ada, feature_key="video", enforce=True)
    with pytest.raises(NotFoundError):
        await client.record_usage("nobody", feature_key="api_calls")


async def test_batches(client: Python, ada: str, shop: Shop, session: aiohttp.ClientSession) -> None:
    """More than one request may carry, in their order; one that is wrong does not keep the others out."""
    events: list[Any] = [{"end_user_id": ada, "feature_key": "api_calls"} for _ in range(1001)]
    events[500] = {"end_user_id": ada, "feature_key": "nothing"}
    items = await client.record_usage_batch(events)
    assert [index for index, item in enumerate(items) if item.status != "accepted"] == [500]
    assert items[500].code == "unknown_feature"
    assert {item.source for item in items} == {"live"}
    assert (await drained(shop.core(session), ada.replace("/", "%2F").replace(" ", "%20")))["total"] == CREDITS - 1000


async def test_buffered_usage_arrives(client: Python, ada: str) -> None:
    """By `flush`, all of it, and by itself within the interval."""
    for _ in range(3):
        await client.buffer_usage(ada, feature_key="api_calls", units=2)
    assert (await client.flush()).waiting == 0
    assert (await client.check_entitlement(ada, "api_calls")).balance == CREDITS - 6


async def test_tokens_of_a_model(client: Python, ada: str) -> None:
    """A provider's usage becomes an event a pool, all under the request's id; sent again they cost nothing more."""
    usage = {
        "prompt_tokens": 3000,
        "completion_tokens": 1500,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 500},
    }
    features = {"input": "input_tokens", "cached_input": "cached_input_tokens", "output": "output_tokens"}
    events = usage_events(ada, token_usage(usage), features=features, idempotency_key="request-1")
    for _ in range(2):
        items = await client.record_usage_batch(events)
        assert [(item.status, item.cost) for item in items] == [("accepted", 4), ("accepted", 1), ("accepted", 12)]
    assert (await client.check_entitlement(ada, "api_calls")).balance == CREDITS - 17


async def test_reservations(client: Python, ada: str) -> None:
    """Committed, released and extended by hand; a second end is refused, and says what came first."""
    reservation = await client.reserve(ada, feature_key="api_calls", units=100, ttl_seconds=60)
    assert (reservation.reserved, reservation.balance) == (100, CREDITS - 100)
    extended = await client.end(reservation, "extend", ttl_seconds=600)
    assert extended.expires_at == reservation.expires_at > datetime.now(UTC) + timedelta(seconds=500)
    assert (await client.end(reservation, "show")).state == "open"
    ended = await client.end(reservation, "commit", units=70)
    assert (ended.state, ended.charged, ended.released, ended.balance) == ("committed", 70, 30, CREDITS - 70)
    with pytest.raises(ConflictError) as conflict:
        await client.end(reservation, "release")
    assert (conflict.value.code, conflict.value.context["state"]) == ("reservation_ended", "committed")
    other = await client.reserve(ada, feature_key="api_calls", credits=10)
    assert (await client.end(other, "release")).released == 10
    with pytest.raises(InsufficientCreditsError):
        await client.reserve(ada, feature_key="api_calls", units=CREDITS)


@pytest.mark.parametrize(
    ("measure", "used", "fails", "state", "charged"),
    [
        ("units", 70, False, "committed", 70),
        ("units", 70, True, "committed", 70),
        ("units", 0, False, "committed", 0),
        ("units", 120, False, "committed", 120),
        ("credits", 2.5, True, "committed", 2.5),
        ("units", None, False, "released", 0),
        ("units", None, True, "released", 0),
    ],
)
async def test_a_block_ends_its_reservation(
    client: Python, ada: str, measure: str, used: float | None, *, fails: bool, state: str, charged: float
) -> None:
    """What was last said to be used is committed, whatever ends the block; where nothing was, it is released."""
    amount: dict[str, Any] = {measure: 100}
    handles: list[Any] = []

    def work(reservation: Any) -> None:
        handles.append(reservation)
        if used is not None:
            reservation.used = 1
        reservation.used = used
        if fails:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) if fails else nullcontext():
        await client.within("reserve", work, ada, feature_key="api_calls", **amount)
    (handle,) = handles
    assert (handle.ended.state, handle.ended.charged) == (state, charged)
    check = await client.check_entitlement(ada, "api_calls")
    assert (check.balance, check.reserved) == (CREDITS - charged, 0)


async def test_gauges(client: Python, ada: str) -> None:
    """Places are taken until there are none, and given back."""
    for number in range(SEATS):
        held = await client.acquire_gauge(ada, feature_key="seats", holder=f"seat-{number}")
    assert (held.used, held.limit, held.acquired) == (SEATS, SEATS, True)
    with pytest.raises(LimitReachedError):
        await client.acquire_gauge(ada, feature_key="seats", holder="one more")
    assert (await client.release_gauge(ada, feature_key="seats", holder="seat-0")).released
    timed = await client.acquire_gauge(ada, feature_key="seats", holder="one more", ttl_seconds=60)
    assert timed.expires_at > datetime.now(UTC)


async def test_money_comes_once(client: Python, user: str) -> None:
    """A payment grants once, by whatever key it is told; a package has its own price."""
    await client.create_customer(user)
    assert (await client.customer(user)).end_user_id == user
    reference = f"pay-{uuid4().hex}"
    made = [await client.top_up(user, payment_reference=reference, package_key="burst") for _ in range(2)]
    assert made[0] == made[1]
    assert (made[0].credits, made[0].price_paid, made[0].currency) == (1000, 900, "EUR")
    await client.top_up(user, payment_reference=f"pay-{uuid4().hex}", credits=0.5, price_paid=1, currency="EUR")
    credits_ = await client.credits(user)
    assert (credits_.total, credits_.balance, len(credits_.blocks)) == (1000.5, 1000.5, 2)


async def test_the_life_of_a_subscription(client: Python, ada: str, shop: Shop) -> None:
    """Each action, and everything about the customer in one go."""
    state = await client.customer_state(ada)
    assert (state.customer.end_user_id, state.credits.total, state.entitlements.balance) == (ada, CREDITS, CREDITS)
    (subscription,) = state.subscriptions
    identity = subscription.subscription_id
    assert await client.subscription(identity) == subscription
    assert (await client.pause_subscription(identity, reason="holidays")).state == "paused"
    assert (await client.resume_subscription(identity)).state == "active"
    preview = await client.preview_change(identity, shop.larger_variant_id)
    assert preview.subscription.plan_variant_id == shop.larger_variant_id
    changed = await client.change_subscription(identity, shop.larger_variant_id, at="now")
    assert (changed.variant_key, changed.subscription_id) == ("large", identity)
    renewed = await client.renew_subscription(identity, payment_reference=f"pay-{uuid4().hex}")
    assert renewed.renewed
    canceled = await client.cancel_subscription(identity, at="now")
    assert canceled.state == "canceled"
    with pytest.raises(ConflictError) as conflict:
        await client.change_subscription(identity, shop.plan_variant_id)
    assert conflict.value.code == "illegal_move"
    with pytest.raises(NotFoundError):
        await client.customer_state("nobody")


async def test_anything_else_of_the_api(client: Python, ada: str) -> None:
    """By `request`, with the same errors; what changes something has a key."""
    assert (await client.request("GET", "/v1/features", query={"limit": 1}))["data"][0]["key"]
    grant = await client.request("POST", "/v1/credits/grants", body={"end_user_id": ada, "amount": 1})
    assert grant["amount"] == 1
    with pytest.raises(ValidationError) as refused:
        await client.request("POST", "/v1/credits/grants", body={"end_user_id": ada, "amount": 1, "note": ""})
    assert (refused.value.code, refused.value.errors[0].field) == ("unknown_field", "note")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_that_is_none(kind: Kind, shop: Shop) -> None:
    """Its owner is told, and it is in no message."""
    key = shop.key[:-1] + ("0" if shop.key[-1] != "0" else "1")
    async with python(kind, api_key=key, url=shop.stack.core_url) as client:
        for verb, arguments in (("check_entitlement", ("a", "api_calls")), ("customer", ("a",))):
            with pytest.raises(AuthenticationError) as refused:
                await getattr(client, verb)(*arguments)
            assert key not in f"{refused.value!s}{refused.value!r}"
    assert issubclass(AuthenticationError, QuotaStackError)
