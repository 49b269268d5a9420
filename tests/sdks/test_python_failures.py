"""What the Python SDK makes of a service that fails: nothing is charged twice, and nothing is lost."""

import asyncio
import os
import signal
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from quotastack import (
    QuotaStackError,
    RateLimitedError,
    SpoolFullError,
    UnavailableError,
    UnreachableError,
    UsageRecorded,
    ValidationError,
    cached,
)
from tests.flow.stack import Client, drained
from tests.sdks.accounts import charged, flushed
from tests.sdks.conftest import CREDITS, Maker, Shop
from tests.sdks.gate import Gate, Harm, Said, gate_to
from tests.waiting import wait_until_async

BUSY = Said(429, {"Retry-After": "1"}, b'{"code": "too_many_requests"}')
AWAY = Said(503, {"Content-Type": "text/html"}, b"<h1>Service Unavailable</h1>")


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
    assert await flushed(client) == 0
    await charged(core, ada, 2 * len(recording))


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


# ---- halves


async def test_a_batch_of_which_a_part_was_answered_says_all(
    make: Maker, gate: Gate, ada: str, core: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of the others: what throws would have the caller send all of them again, under other keys."""
    monkeypatch.setattr("quotastack.events.MAX_BATCH_EVENTS", 2)
    client = await make(attempts=1, max_spool_bytes=0)
    one = {"end_user_id": ada, "feature_key": "api_calls"}

    async def record(harm: Harm | Said, *events: dict[str, Any]) -> list[tuple[str, str | None]]:
        gate.planned += [None, harm]
        items = await client.record_usage_batch(list(events))
        assert len({item.idempotency_key for item in items}) == len(events)
        again = [event | {"idempotency_key": item.idempotency_key} for event, item in zip(events, items, strict=True)]
        assert {item.status for item in await client.record_usage_batch(again)} == {"accepted"}
        return [(item.status, item.code) for item in items]

    good: list[tuple[str, str | None]] = [("accepted", None)] * 2
    assert await record(Said(403, {}, b"{}"), one, one, one) == [*good, ("rejected", "unexpected_answer")]
    assert await record(Harm.LOSE_ANSWER, one, one, one) == [*good, ("unknown", "not_kept")]
    enforced = one | {"enforce": True}
    assert await record(Harm.LOSE_ANSWER, one, one, enforced) == [*good, ("unknown", "unreachable")]
    await charged(core, ada, 9)
    gate.planned += [Said(403, {}, b"{}")]
    with pytest.raises(QuotaStackError):
        await client.record_usage_batch([one, one, one])
    gate.planned += [Harm.RESET]
    with pytest.raises(SpoolFullError):
        await client.record_usage_batch([one, one, one])
    await charged(core, ada, 9)


async def test_a_commit_that_is_not_heard_is_repeated(make: Maker, gate: Gate, ada: str, core: Client) -> None:
    """At the end of the block, under its key; a release would give back what was used."""
    client = await make(attempts=1)
    for harm in (Harm.LOSE_ANSWER, Harm.RESET):
        opened = await client.reserve(ada, feature_key="api_calls", units=100)
        assert repr(opened).endswith("open, reserved=100, used=None)")
        gate.planned.append(harm)
        with pytest.raises(UnreachableError):
            await client.end(opened, "commit", units=30)
        await _leave_block(opened)
        assert opened.ended.charged == 30
        assert "committed" in repr(opened)
    refused = await client.reserve(ada, feature_key="api_calls", units=100)
    with pytest.raises(ValueError, match="nan"):
        await client.end(refused, "commit", units=float("nan"))
    with pytest.raises(ValidationError):
        await client.end(refused, "commit", credits=30)
    await _leave_block(refused)
    assert refused.ended.charged == 0
    await charged(core, ada, 60)


async def _leave_block(handle: Any) -> None:
    if hasattr(handle, "__aexit__"):
        await handle.__aexit__(None, None, None)
    else:
        await asyncio.to_thread(handle.__exit__, None, None, None)


async def test_checks_that_are_not_all_answered(make: Maker, gate: Gate, ada: str) -> None:
    """Are answered as the fail mode says."""
    client = await make(fail_mode="open")
    gate.planned += [Said(200, {}, b'{"results": []}')]
    (answer,) = await client.check_entitlements([{"end_user_id": ada, "feature_key": "api_calls"}])
    assert (answer.allowed, answer.source) == (True, "fallback")
