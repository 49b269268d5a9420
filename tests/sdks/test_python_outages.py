"""What waits in the Python SDK while the service is away: it is charged once, or told."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx
import pytest

from quotastack import (
    AsyncQuotaStack,
    AuthenticationError,
    FlushReport,
    RejectedEvent,
    SpoolFullError,
    UnreachableError,
    UsageRecorded,
)
from quotastack.events import Event
from quotastack.retries import Patience
from quotastack.spool_files import FileSpool
from tests.flow.stack import Client
from tests.sdks.accounts import charged, flushed
from tests.sdks.conftest import CREDITS, Maker, Shop
from tests.sdks.gate import Gate, Harm, Said

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
    assert [(item.status, item.source) for item in items] == [("accepted", "fallback"), ("unknown", "fallback")]
    for _ in range(3):
        await client.buffer_usage(ada, feature_key="api_calls", units=4)
    with pytest.raises(UnreachableError):
        await client.record_usage(ada, feature_key="api_calls", enforce=True)
    report: FlushReport = await client.flush()
    assert (report.waiting, type(report.error)) == (5, UnreachableError)
    opened_at = datetime.now(UTC)
    gate.is_away = False
    await charged(core, ada, 1 + 2 + 3 * 4)
    assert (await client.flush()).waiting == 0
    late = await core.get("/v1/usage/events", end_user_id=ada)
    times = [datetime.fromisoformat(event["occurred_at"]) for event in late.body["data"]]
    assert [time < opened_at for time in times] == [True] * 5
    again: UsageRecorded = await client.record_usage(ada, feature_key="api_calls", units=1, idempotency_key="one")
    assert (again.accepted, again.replayed) == (True, True)
    same = {"end_user_id": ada, "feature_key": "api_calls", "idempotency_key": "one"}
    items = await client.record_usage_batch([{**same, "units": 1}, {**same, "units": 2}])
    assert [(item.status, item.replayed) for item in items] == [("accepted", True), ("rejected", False)]
    await charged(core, ada, 15)


@pytest.mark.slow
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
    assert await flushed(client) == 0
    await client.buffer_usage(ada, feature_key="api_calls", units=6, idempotency_key="two")
    gate.planned += [Harm.LOSE_ANSWER] * 2
    assert await flushed(client) == 0
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
    assert await flushed(client) == 0
    await charged(core, ada, 3)
    assert sorted(event.code for event in told) == ["invalid_units", "unknown_feature", "unknown_feature"]
    assert len((tmp_path / "rejected-test.jsonl").read_text().splitlines()) == 3


async def test_usage_that_waited_too_long(make: Maker, ada: str, core: Client, tmp_path: Path) -> None:
    """Longer than the service knows keys: nobody knows whether it was charged then, so it is told, and never charged.

    What is younger, and refused for its time all the same, is taken at the moment of arrival, once.
    """
    now = datetime.now(UTC)
    event = Event(end_user_id=ada, feature_key="api_calls", units=7, idempotency_key="young", timestamp=_at(now, 1))
    old = Event(end_user_id=ada, feature_key="api_calls", units=9, idempotency_key="old", timestamp=_at(now, -72))
    for _ in range(2):
        spool = FileSpool(tmp_path, "test", 10_000)
        spool.add([old, event])
        spool.close()
    told: list[RejectedEvent] = []
    client = await make(spool=tmp_path, on_rejected=told.append)
    assert await flushed(client) == 0
    await charged(core, ada, 7)
    assert [(one.idempotency_key, one.code) for one in told] == [("old", "timestamp_out_of_range")] * 2


def _at(now: datetime, hours: int) -> str:
    return (now + timedelta(hours=hours)).isoformat()


async def test_what_lies_in_a_spool_and_is_no_usage_is_told(
    make: Maker, ada: str, core: Client, tmp_path: Path
) -> None:
    """And keeps nothing beside it from arriving."""
    spool = FileSpool(tmp_path, "test", 10_000)
    now = datetime.now(UTC)
    spool.add(
        [
            Event(end_user_id=user, feature_key="api_calls", units=7, idempotency_key="k", timestamp=_at(now, 0))
            for user in (ada, "STRANGER")
        ]
    )
    spool.close()
    _make_strange(tmp_path)
    told: list[RejectedEvent] = []
    client = await make(spool=tmp_path, on_rejected=told.append)
    assert await flushed(client) == 0
    await charged(core, ada, 7)
    assert [(one.end_user_id, one.code) for one in told] == [("42", "unfit")]
    assert "42" in (tmp_path / "rejected-test.jsonl").read_text()


def _make_strange(spool: Path) -> None:
    (file,) = spool.glob("test-*/events.jsonl")
    file.write_text(file.read_text().replace('"STRANGER"', "42"))


async def test_buffered_usage_that_finds_no_room_stays(make: Maker, gate: Gate, ada: str, core: Client) -> None:
    """In memory, and is counted; it is sent once the service is back. What a closed client leaves is told."""
    told: list[RejectedEvent] = []
    client = await make(attempts=1, max_wait=0.1, max_spool_bytes=0, flush_interval=0.05, on_rejected=told.append)
    gate.is_away = True
    for units in (3, 4):
        await client.buffer_usage(ada, feature_key="api_calls", units=units)
        report: FlushReport = await client.flush()
        assert (report.waiting, type(report.error)) == ({3: 1, 4: 2}[units], SpoolFullError)
    gate.is_away = False
    await charged(core, ada, 7)
    assert (await client.flush()).waiting == 0
    gate.is_away = True
    await client.buffer_usage(ada, feature_key="api_calls", units=5)
    await client.close()
    assert [(event.code, event.units) for event in told] == [("not_kept", 5)]
    gate.is_away = False


async def test_a_flush_that_is_cancelled_loses_nothing(
    shop: Shop, gate: Gate, ada: str, core: Client, tmp_path: Path
) -> None:
    """What it had in hand is sent by the next."""
    options = {"url": shop.stack.core_url, "edge_url": gate.url, "spool": tmp_path, "flush_interval": 3600.0}
    async with AsyncQuotaStack(shop.key, **options) as client:
        client.buffer_usage(ada, feature_key="api_calls", units=5)
        gate.planned.append(Harm.SILENCE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.flush(), 0.3)
        assert (await client.flush()).waiting == 0
    await charged(core, ada, 5)


async def test_what_httpx_says_is_no_answer(make: Maker, gate: Gate, ada: str, core: Client) -> None:
    """A proxy whose gzip is none; and usage that is buffered meanwhile stays."""
    broken = Said(200, {"Content-Encoding": "gzip"}, b"no gzip")
    client = await make(attempts=1, max_wait=0.1, fail_mode="open")
    gate.planned += [broken] * 3
    assert (await client.check_entitlement(ada, "api_calls")).source == "fallback"
    assert (await client.record_usage(ada, feature_key="api_calls", units=2)).source == "fallback"
    assert await flushed(client) == 0
    gate.planned += [broken]
    await client.buffer_usage(ada, feature_key="api_calls", units=3)
    assert await flushed(client) == 0
    await charged(core, ada, 5)


async def test_a_client_that_was_lent_and_is_closed(shop: Shop, tmp_path: Path) -> None:
    """Reaches nobody; usage is kept."""
    lent = httpx.AsyncClient()
    await lent.aclose()
    options: dict[str, Any] = {"url": shop.stack.core_url, "attempts": 1, "spool": tmp_path}
    async with AsyncQuotaStack(shop.key, http=lent, **options) as client:
        assert (await client.record_usage("ada", feature_key="api_calls")).source == "fallback"
        with pytest.raises(UnreachableError):
            await client.customer("ada")


def test_an_async_client_on_one_loop_after_another(shop: Shop, tmp_path: Path) -> None:
    """What was buffered on a loop that is over is sent on the next."""
    options = {"url": shop.stack.core_url, "edge_url": shop.stack.edge_url, "spool": tmp_path, "flush_interval": 3600.0}
    client, user = AsyncQuotaStack(shop.key, **options), f"user_{uuid4().hex[:8]}"

    async def buffer() -> None:
        client.buffer_usage(user, feature_key="api_calls")

    async def finish() -> float:
        await client.subscribe(user, shop.plan_variant_id)
        await buffer()
        assert (await client.flush()).waiting == 0
        balance = (await client.check_entitlement(user, "api_calls")).balance
        await client.close()
        return balance or 0

    asyncio.run(buffer())
    assert asyncio.run(finish()) == CREDITS - 2


LOOPS = """
import asyncio, sys
from quotastack import AsyncQuotaStack

client, user = AsyncQuotaStack(attempts=1), sys.argv[1]

async def record():
    client.buffer_usage(user, feature_key="api_calls")
    return await client.record_usage(user, feature_key="api_calls")

for _ in range(3):
    print(asyncio.run(record()).source)
asyncio.run(client.close())
"""


async def test_an_async_client_that_has_sent_on_a_loop_that_is_over(
    shop: Shop, ada: str, core: Client, repository: Path
) -> None:
    """Its connections and its task are of that loop; it makes others, and closes on yet another."""
    variables = shop.variables | {"PYTHONPATH": str(repository / "sdks" / "python" / "src")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOOPS, ada), env=variables, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert (process.returncode, said.split()) == (0, [b"live"] * 3)
    await charged(core, ada, 6)


async def test_usage_waits_for_nobody_for_long(
    make: Maker, gate: Gate, ada: str, core: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many attempts there are; while other usage waits it is looked once, shortly. An answer ends that."""
    monkeypatch.setattr("quotastack._async.delivery.KNOWN_AWAY", Patience(1, 0.0, 1.0))
    monkeypatch.setattr("quotastack._sync.delivery.KNOWN_AWAY", Patience(1, 0.0, 1.0))
    monkeypatch.setattr("quotastack._async.delivery.FIRST_PAUSE_SECONDS", 30.0)
    monkeypatch.setattr("quotastack._sync.delivery.FIRST_PAUSE_SECONDS", 30.0)
    client = await make(timeout=1.5, usage_timeout=4.0, max_wait=60.0, attempts=9)
    # The background drains too: its batch is one of them, and has all attempts.
    gate.planned += [Harm.SILENCE] * 30
    for least, most in ((3.9, 8.0), (0.9, 3.0)):
        begun = monotonic()
        assert (await client.record_usage(ada, feature_key="api_calls", units=2)).source == "fallback"
        assert least <= monotonic() - begun < most
    begun = monotonic()
    items = await client.record_usage_batch([{"end_user_id": ada, "feature_key": "api_calls", "units": 3}])
    assert ([item.durability for item in items], monotonic() - begun < 3) == (["local"], True)
    gate.planned.clear()
    assert (await client.record_usage(ada, feature_key="api_calls", units=4)).source == "live"
    await charged(core, ada, 11)


async def test_a_batch_that_is_refused_whole_is_taken_apart(make: Maker, gate: Gate, ada: str, core: Client) -> None:
    """One event is to blame, the others arrive."""
    told: list[RejectedEvent] = []
    client = await make(attempts=1, max_wait=0.5, on_rejected=told.append)
    for units in (1, 2, 3, 4):
        await client.buffer_usage(ada, feature_key="api_calls", units=units)
    # All four, both of the first half, the first of them.
    gate.planned += [Said(400, {}, b"{}")] * 3
    assert await flushed(client) == 0
    await charged(core, ada, 9)
    assert [event.units for event in told] == [1]


async def test_a_wrong_key_keeps_usage(make: Maker, ada: str, core: Client, shop: Shop, tmp_path: Path) -> None:
    """Whoever revokes a key has not taken back what was used: it waits for a good one."""
    wrong = await make(api_key=shop.key[:-6] + "000000", spool=tmp_path)
    await wrong.buffer_usage(ada, feature_key="api_calls")
    report: FlushReport = await wrong.flush()
    assert (report.waiting, type(report.error)) == (1, AuthenticationError)
    assert (await wrong.close()).waiting == 1
    right = await make(spool=tmp_path)
    assert await flushed(right) == 0
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
    assert (await client.flush()).waiting == len(kept)
    gate.is_away = False


async def test_the_service_answers_again_in_order(make: Maker, gate: Gate, ada: str, core: Client) -> None:
    """What waited goes in the order in which it came."""
    client = await make(attempts=1, max_wait=0.5)
    gate.is_away = True
    for number in range(5):
        await client.record_usage(ada, feature_key="api_calls", idempotency_key=f"{number}")
    gate.is_away, gate.seen[:] = False, []
    assert await flushed(client) == 0
    await charged(core, ada, 5)
    (batch,) = [request for request in gate.seen if b"/v1/usage/batch" in request]
    places = [batch.index(f'"idempotency_key":"{number}"'.encode()) for number in range(5)]
    assert places == sorted(places)
