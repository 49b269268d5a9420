"""What the Python SDK makes of a service that fails: nothing is charged twice, and nothing is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from quotastack import (
    AsyncQuotaStack,
    RateLimitedError,
    RejectedEvent,
    SpoolFullError,
    UnavailableError,
    UnreachableError,
    UsageRecorded,
    cached,
)
from quotastack.events import Event
from quotastack.spool_files import FileSpool
from tests.flow.stack import Client, drained
from tests.sdks.clients import KINDS, Kind, Python, python
from tests.sdks.conftest import CREDITS, Shop
from tests.sdks.gate import Gate, Harm, Said, gate_to
from tests.waiting import wait_until_async

BUSY = Said(429, {"Retry-After": "1"}, b'{"code": "too_many_requests"}')
AWAY = Said(503, {"Content-Type": "text/html"}, b"<h1>Service Unavailable</h1>")


@pytest.fixture
async def gate(shop: Shop) -> AsyncIterator[Gate]:
    """Between client and edge."""
    async with gate_to(shop.stack.edge_url) as opened:
        yield opened


class Maker:
    """Makes clients that go through the gate."""

    def __init__(self, kind: Kind, shop: Shop, gate: Gate, exits: AsyncExitStack) -> None:
        self._options = {"api_key": shop.key, "url": shop.stack.core_url, "edge_url": gate.url}
        self._kind: Kind = kind
        self._exits = exits

    async def __call__(self, **options: Any) -> Python:
        """A client."""
        return await self._exits.enter_async_context(python(self._kind, **(self._options | options)))


@pytest.fixture(params=KINDS)
async def make(request: pytest.FixtureRequest, shop: Shop, gate: Gate) -> AsyncIterator[Maker]:
    """Of both kinds."""
    async with AsyncExitStack() as exits:
        yield Maker(request.param, shop, gate, exits)


@pytest.fixture
async def core(shop: Shop, session: aiohttp.ClientSession) -> Client:
    """To see what happened."""
    return shop.core(session)


@pytest.fixture
async def ada(core: Client, shop: Shop) -> str:
    """A customer on the plan."""
    user = f"user_{uuid4().hex[:8]}"
    await core.created("/v1/subscriptions", {"end_user_id": user, "plan_variant_id": shop.plan_variant_id})
    return user


async def charged(core: Client, user: str, units: float) -> None:
    """So much arrives, and no more."""

    async def has_arrived() -> bool:
        return (await drained(core, user))["total"] <= CREDITS - units

    await wait_until_async(has_arrived, 30, f"{units} units of {user}")
    assert (await drained(core, user))["total"] == CREDITS - units


# ---- answers that are lost


@pytest.mark.parametrize("harm", [Harm.LOSE_ANSWER, Harm.RESET])
async def test_usage_whose_answer_is_lost_is_charged_once(
    make: Maker, gate: Gate, ada: str, core: Client, harm: Harm
) -> None:
    """Each attempt of a call has its key, made or given; so has each part of a batch."""
    client = await make()
    gate.planned += [harm, harm]
    recorded: UsageRecorded = await client.record_usage(ada, feature_key="api_calls", units=3)
    assert (recorded.cost, recorded.source, recorded.replayed) == (3, "live", harm is Harm.LOSE_ANSWER)
    gate.planned += [harm]
    items = await client.record_usage_batch([{"end_user_id": ada, "feature_key": "api_calls", "units": 4}] * 2)
    assert [item.cost for item in items] == [4, 4]
    await charged(core, ada, 11)


async def test_whatever_loses_its_answer_is_done_once(make: Maker, gate: Gate, ada: str, core: Client) -> None:
    """Reservations, their ends, gauges; and what core does, a grant and a top-up, through another gate."""
    client = await make()
    gate.planned.append(Harm.LOSE_ANSWER)
    reservation = await client.reserve(ada, feature_key="api_calls", units=100)
    gate.planned.append(Harm.LOSE_ANSWER)
    assert (await client.end(reservation, "commit", units=30)).charged == 30
    gate.planned.append(Harm.LOSE_ANSWER)
    assert (await client.acquire_gauge(ada, feature_key="seats", holder="me")).used == 1
    assert (await client.check_entitlement(ada, "api_calls")).balance == CREDITS - 30
    await charged(core, ada, 30)
    async with gate_to(client.client._settings.url) as before_core:  # noqa: SLF001
        other = await make(url=before_core.url)
        before_core.planned.append(Harm.LOSE_ANSWER)
        await other.top_up(ada, payment_reference=uuid4().hex, credits=5, price_paid=1, currency="EUR")
        before_core.planned.append(Harm.LOSE_ANSWER)
        await other.request("POST", "/v1/credits/grants", body={"end_user_id": ada, "amount": 7})
    assert (await drained(core, ada))["total"] == CREDITS - 30 + 5 + 7


async def test_the_edge_is_killed_between_request_and_answer(
    make: Maker, gate: Gate, ada: str, core: Client, shop: Shop
) -> None:
    """Every worker dies while the store has what it asked and nobody has an answer: each event is charged once."""
    client = await make(attempts=10)
    await client.check_entitlement(ada, "api_calls")
    os.kill(shop.stack.valkey.pid, signal.SIGSTOP)
    try:
        recording = [asyncio.create_task(client.record_usage(ada, feature_key="api_calls", units=2)) for _ in range(20)]

        async def have_come() -> bool:
            return gate.paths().count("/v1/usage") >= len(recording)

        await wait_until_async(have_come, 10, "the requests to be with the edge")
        for pid in shop.stack.workers("edge"):
            os.kill(pid, signal.SIGKILL)
    finally:
        os.kill(shop.stack.valkey.pid, signal.SIGCONT)
    recorded = await asyncio.gather(*recording)
    assert {one.accepted for one in recorded} == {True}
    assert await _flushed(client) == 0
    await charged(core, ada, 2 * len(recording))


async def _flushed(client: Python) -> int:
    async def is_empty() -> bool:
        return await client.flush() == 0

    await wait_until_async(is_empty, 30, "the spool to be empty")
    return await client.flush()


# ---- not now


@pytest.mark.parametrize("said", [BUSY, AWAY, Said(500), Said(502), Said(504), Said(200, {}, b"<html>")])
async def test_what_passes_is_tried_again(make: Maker, gate: Gate, ada: str, core: Client, said: Said) -> None:
    """429 and 5xx, from the service or from what stands before it; never before it asks to."""
    client = await make()
    gate.planned += [said]
    begun = monotonic()
    assert (await client.record_usage(ada, feature_key="api_calls")).source == "live"
    assert monotonic() - begun >= float(said.headers.get("Retry-After", 0))
    assert len(gate.seen) == 2
    await charged(core, ada, 1)


async def test_attempts_have_an_end(make: Maker, gate: Gate, ada: str) -> None:
    """Four in all, two of a check; a wait beyond what a caller waits ends them at once; another 4xx is never tried."""
    client = await make()
    gate.planned += [AWAY] * 4
    with pytest.raises(UnavailableError) as refused:
        await client.record_usage(ada, feature_key="api_calls", enforce=True)
    assert (refused.value.status, len(gate.seen)) == (503, 4)
    gate.planned += [AWAY] * 2
    assert (await client.check_entitlement(ada, "api_calls")).source == "fallback"
    assert len(gate.seen) == 6
    gate.planned += [Said(429, {"Retry-After": "31"})]
    with pytest.raises(RateLimitedError) as limited:
        await client.reserve(ada, feature_key="api_calls", units=1)
    assert (limited.value.retry_after, len(gate.seen)) == (31, 7)
    gate.planned += [Said(408)]
    with pytest.raises(Exception, match="408"):
        await client.list_entitlements(ada)
    assert len(gate.seen) == 8


@pytest.mark.parametrize("harm", [Harm.SILENCE, Harm.DRIP])
async def test_silence_has_an_end(make: Maker, gate: Gate, ada: str, harm: Harm) -> None:
    """A time limit for each attempt, whatever the service does meanwhile."""
    client = await make(timeout=0.3, check_timeout=0.2, attempts=2)
    gate.planned += [harm] * 4
    begun = monotonic()
    with pytest.raises(UnreachableError):
        await client.reserve(ada, feature_key="api_calls", units=1)
    assert not (await client.check_entitlement(ada, "api_calls")).allowed
    assert 1.0 <= monotonic() - begun < 3


# ---- fail modes


async def test_fail_modes(make: Maker, gate: Gate, ada: str) -> None:
    """Whoever asks is answered while the service is away, as the client was told; a refusal is never taken for that."""
    closed = await make()
    modes = {"ai_request": "open", "reports": cached(60), "video": cached(0.0)}
    mixed = await make(feature_fail_modes=modes)
    live = await mixed.check_entitlement(ada, "reports")
    await mixed.check_entitlement(ada, "video")
    gate.is_away = True
    answers = {
        feature: await client.check_entitlement(ada, feature)
        for client, feature in ((mixed, "ai_request"), (mixed, "reports"), (mixed, "video"), (closed, "api_calls"))
    }
    said = {feature: (answer.allowed, answer.source, answer.reason) for feature, answer in answers.items()}
    assert said == {
        "ai_request": (True, "fallback", None),
        "reports": (True, "cache", None),
        "video": (False, "fallback", "unavailable"),
        "api_calls": (False, "fallback", "unavailable"),
    }
    assert answers["reports"].balance == live.balance
    many = await mixed.check_entitlements(
        [{"end_user_id": ada, "feature_key": key} for key in ("reports", "api_calls")]
    )
    assert [(answer.allowed, answer.source) for answer in many] == [(True, "cache"), (False, "fallback")]
    with pytest.raises(UnreachableError):
        await mixed.list_entitlements(ada)


# ---- the spool


@pytest.mark.parametrize("is_durable", [True, False])
async def test_an_outage_loses_nothing(
    make: Maker, gate: Gate, ada: str, core: Client, tmp_path: Path, *, is_durable: bool
) -> None:
    """Usage of all three ways waits, with its key and its time, and is charged once when the service is back."""
    client = await make(spool=tmp_path if is_durable else None, attempts=2, max_wait=0.5, flush_interval=0.05)
    gate.is_away = True
    recorded: UsageRecorded = await client.record_usage(ada, feature_key="api_calls", units=1, idempotency_key="one")
    assert recorded == UsageRecorded(accepted=True, durability="local", source="fallback")
    items = await client.record_usage_batch(
        [{"end_user_id": ada, "feature_key": "api_calls", "units": 2, "enforce": enforce} for enforce in (False, True)]
    )
    assert [(item.status, item.source) for item in items] == [("accepted", "fallback"), ("rejected", "fallback")]
    for _ in range(3):
        await client.buffer_usage(ada, feature_key="api_calls", units=4)
    with pytest.raises(UnreachableError):
        await client.record_usage(ada, feature_key="api_calls", enforce=True)
    assert await client.flush() == 5
    opened_at = datetime.now(UTC)
    gate.is_away = False
    await charged(core, ada, 1 + 2 + 3 * 4)
    assert await client.flush() == 0
    late = await core.get("/v1/usage/events", end_user_id=ada)
    times = [datetime.fromisoformat(event["occurred_at"]) for event in late.body["data"]]
    assert [time < opened_at for time in times] == [True] * 5
    again: UsageRecorded = await client.record_usage(ada, feature_key="api_calls", units=1, idempotency_key="one")
    assert (again.accepted, again.replayed) == (True, True)
    same = {"end_user_id": ada, "feature_key": "api_calls", "idempotency_key": "one"}
    items = await client.record_usage_batch([{**same, "units": 1}, {**same, "units": 2}])
    assert [(item.status, item.replayed) for item in items] == [("accepted", True), ("rejected", False)]
    await charged(core, ada, 15)


async def test_an_outage_of_thirty_seconds(make: Maker, gate: Gate, ada: str, core: Client, tmp_path: Path) -> None:
    """Usage comes all the while; none of it is lost, and none is charged twice."""
    client = await make(spool=tmp_path, attempts=2, max_wait=2.0)
    gate.is_away, end, count = True, monotonic() + 30, 0
    waiting = asyncio.Event()
    while monotonic() < end:
        recorded = await client.record_usage(ada, feature_key="api_calls", idempotency_key=f"{ada}:{count}")
        assert recorded.source == "fallback"
        count += 1
        await client.buffer_usage(ada, feature_key="ai_request", idempotency_key=f"{ada}:{count}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting.wait(), 0.2)
    gate.is_away = False
    await charged(core, ada, 2 * count)


async def test_an_event_that_arrived_and_waits_too_is_charged_once(
    make: Maker, gate: Gate, ada: str, core: Client
) -> None:
    """All its answers were lost, so it waits with its time; the service has it without one, and it is the same."""
    client = await make(attempts=2, max_wait=0.5)
    gate.planned += [Harm.LOSE_ANSWER] * 2
    recorded = await client.record_usage(ada, feature_key="api_calls", units=5, idempotency_key="one")
    assert recorded.source == "fallback"
    assert await _flushed(client) == 0
    await client.buffer_usage(ada, feature_key="api_calls", units=6, idempotency_key="two")
    gate.planned += [Harm.LOSE_ANSWER] * 2
    assert await _flushed(client) == 0
    await charged(core, ada, 11)


async def test_what_will_never_be_taken_is_told(
    make: Maker, gate: Gate, ada: str, core: Client, tmp_path: Path
) -> None:
    """It goes to `on_rejected` and to the file beside the spool, and keeps nothing behind it from arriving."""
    told: list[RejectedEvent] = []
    client = await make(spool=tmp_path, attempts=1, max_wait=0.5, on_rejected=told.append)
    gate.is_away = True
    for feature, units in (("api_calls", 1), ("nothing", 1), ("api_calls", -1), ("Not A Key", 1), ("api_calls", 2)):
        await client.record_usage(ada, feature_key=feature, units=units)
    gate.is_away = False
    assert await _flushed(client) == 0
    await charged(core, ada, 3)
    assert sorted(event.code for event in told) == ["invalid_units", "unknown_feature", "unknown_feature"]
    assert len((tmp_path / "rejected-test.jsonl").read_text().splitlines()) == 3


async def test_usage_that_waited_too_long(make: Maker, ada: str, core: Client, tmp_path: Path) -> None:
    """Longer than times may lie back: it is taken at the moment of arrival, once, though two processes had it."""
    old = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    event = Event(end_user_id=ada, feature_key="api_calls", units=7, idempotency_key="old", timestamp=old)
    for _ in range(2):
        spool = FileSpool(tmp_path, "test", 10_000)
        spool.add([event])
        spool.close()
    client = await make(spool=tmp_path)
    assert await _flushed(client) == 0
    await charged(core, ada, 7)


async def test_buffered_usage_that_finds_no_room_is_told(make: Maker, gate: Gate, ada: str) -> None:
    """Nobody who could be told is there any more but `on_rejected`."""
    told: list[RejectedEvent] = []
    client = await make(attempts=1, max_spool_bytes=0, on_rejected=told.append)
    gate.is_away = True
    await client.buffer_usage(ada, feature_key="api_calls", units=3)
    assert await client.flush() == 0
    assert [(event.code, event.units) for event in told] == [("not_kept", 3)]
    gate.is_away = False


def test_an_async_client_on_one_loop_after_another(shop: Shop, tmp_path: Path) -> None:
    """What was buffered on a loop that is over is sent on the next."""
    options = {"url": shop.stack.core_url, "edge_url": shop.stack.edge_url, "spool": tmp_path, "flush_interval": 3600.0}
    client, user = AsyncQuotaStack(shop.key, **options), f"user_{uuid4().hex[:8]}"

    async def buffer() -> None:
        client.buffer_usage(user, feature_key="api_calls")

    async def finish() -> float:
        await client.subscribe(user, shop.plan_variant_id)
        await buffer()
        assert await client.flush() == 0
        balance = (await client.check_entitlement(user, "api_calls")).balance
        await client.close()
        return balance or 0

    asyncio.run(buffer())
    assert asyncio.run(finish()) == CREDITS - 2


async def test_a_batch_that_is_refused_whole_is_taken_apart(make: Maker, gate: Gate, ada: str, core: Client) -> None:
    """One event is to blame, the others arrive."""
    told: list[RejectedEvent] = []
    client = await make(attempts=1, max_wait=0.5, on_rejected=told.append)
    for units in (1, 2, 3, 4):
        await client.buffer_usage(ada, feature_key="api_calls", units=units)
    # All four, both of the first half, the first of them.
    gate.planned += [Said(400, {}, b"{}")] * 3
    assert await _flushed(client) == 0
    await charged(core, ada, 9)
    assert [event.units for event in told] == [1]


async def test_a_wrong_key_keeps_usage(make: Maker, ada: str, core: Client, shop: Shop, tmp_path: Path) -> None:
    """Whoever revokes a key has not taken back what was used: it waits for a good one."""
    wrong = await make(api_key=shop.key[:-6] + "000000", spool=tmp_path)
    await wrong.buffer_usage(ada, feature_key="api_calls")
    assert await wrong.flush() == 1
    await wrong.close()
    right = await make(spool=tmp_path)
    assert await _flushed(right) == 0
    await charged(core, ada, 1)


@pytest.mark.parametrize("is_durable", [True, False])
async def test_a_spool_that_is_full(make: Maker, gate: Gate, ada: str, tmp_path: Path, *, is_durable: bool) -> None:
    """The call fails: nothing is promised that is not kept."""
    client = await make(spool=tmp_path if is_durable else None, attempts=1, max_spool_bytes=1000)
    gate.is_away = True
    answers = [asyncio.create_task(client.record_usage(ada, feature_key="api_calls")) for _ in range(10)]
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    kept = [one for one in outcomes if isinstance(one, UsageRecorded)]
    assert {type(one) for one in outcomes} == {UsageRecorded, SpoolFullError}
    assert await client.flush() == len(kept)
    gate.is_away = False


async def test_the_service_answers_again_in_order(make: Maker, gate: Gate, ada: str, core: Client) -> None:
    """What waited goes in the order in which it came."""
    client = await make(attempts=1, max_wait=0.5)
    gate.is_away = True
    for number in range(5):
        await client.record_usage(ada, feature_key="api_calls", idempotency_key=f"{number}")
    gate.is_away, gate.seen[:] = False, []
    assert await _flushed(client) == 0
    await charged(core, ada, 5)
    (batch,) = [request for request in gate.seen if b"/v1/usage/batch" in request]
    places = [batch.index(f'"idempotency_key":"{number}"'.encode()) for number in range(5)]
    assert places == sorted(places)
