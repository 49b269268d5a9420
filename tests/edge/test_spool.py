"""Usage that cannot be decided on is spooled: kept through any death, then taken in once, in order, or rejected."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from app.embedded.valkey import EmbeddedValkey
from app.rules.credits import MICRO
from app.rules.moments import to_datetime
from app.wire import key_digest, keys
from app.wire.codes import Code
from app.wire.events import EntryKind
from tests.edge.spooling import SECONDS, away, dear_plan, edge_on, event_ids, files, is_empty, is_spooled, read, spooled
from tests.edge.test_ingesting import cloud_event, emit
from tests.edge.world import PEPPER, Tenant, now_at
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(own_valkey: EmbeddedValkey, spool: Path) -> AsyncIterator[Tenant]:
    """An environment on an edge and a server of the test's own, with an account that both know."""
    async with edge_on(own_valkey.url, spool) as world:
        tenant = await world.tenant()
        await tenant.seed("user_1", 1000, dear_plan(tenant))
        assert (await tenant.use("user_1")).status == 202
        yield tenant


# ---- Redis is away


async def test_usage_goes_on_while_redis_is_away(tenant: Tenant, own_valkey: EmbeddedValkey, spool: Path) -> None:
    """202 without figures, single and in batches; afterwards everything is in the stream, once and in order."""
    before = await event_ids(tenant)
    await away(tenant, own_valkey)
    began_at = now_at()
    answer = await tenant.use("user_1", idempotency_key="k", units=2)
    event_id = answer.body["event_id"]
    ordinary = {"event_id": event_id, "accepted": True, "cost": None, "balance": None, "overage": None}
    assert (answer.status, answer.raw) == (202, msgspec.json.encode(ordinary | {"durability": "spooled"}))
    sent = [event_id, *[await spooled(tenant) for _ in range(50)]]
    batch = await tenant.batch([{"end_user_id": "user_1", "feature_key": "api_calls"}, {"end_user_id": "user_1"}])
    [result, refused] = batch.body["results"]
    assert (result["status"], result["durability"], result["cost"]) == ("accepted", "spooled", None)
    assert (refused["code"], "durability" in refused) == ("invalid_body", False)
    ended_at = now_at()
    assert files(spool)

    own_valkey.start()
    await tenant.world.edge.ready()
    await is_empty(spool)
    assert await event_ids(tenant) == [*before, *sent, result["event_id"]]
    entries = (await read(tenant))[1:]
    for entry in entries:  # it happened when it came, and was decided on when Redis was back
        assert entry.payload is not None
        assert began_at <= (entry.payload.occurred_at or 0) <= ended_at <= entry.accepted_at
    assert (await tenant.check("user_1")).body["balance"] == 1000 - 1 - 2 - 51
    again = await tenant.use("user_1", idempotency_key="k", units=2)
    assert (again.body["event_id"], again.body["cost"]) == (event_id, 2)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "durability" not in again.body


async def test_an_event_of_which_nobody_knows(tenant: Tenant, own_valkey: EmbeddedValkey, spool: Path) -> None:
    """Redis has the command and does not answer: 202, and one effect, with a key and without, the same key twice."""
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        answers = await asyncio.gather(
            tenant.use("user_1"),
            tenant.use("user_1", idempotency_key="k"),
            tenant.use("user_1", idempotency_key="k"),
            tenant.use("user_1", timestamp=to_datetime(now_at() - MICRO).isoformat()),
        )
        assert all(map(is_spooled, answers))
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    await is_empty(spool)
    assert sorted((await event_ids(tenant))[1:]) == sorted({answer.body["event_id"] for answer in answers})
    assert (await tenant.check("user_1")).body["balance"] == 996


async def test_cloudevents_are_spooled_too(tenant: Tenant, own_valkey: EmbeddedValkey, spool: Path) -> None:
    """The plan that the customer had says which features they are for; of one whom nobody knows they are refused."""
    event = cloud_event(data={"calls": 2, "tokens": 0})
    await away(tenant, own_valkey)
    [calls, tokens] = (await emit(tenant, event)).body["results"]
    assert (calls["feature_key"], calls["status"], calls["durability"]) == ("api_calls", "accepted", "spooled")
    assert (tokens["feature_key"], tokens["status"], tokens["balance"]) == ("tokens", "skipped", None)
    assert (await emit(tenant, event, path="/api/v1/events")).status == 204
    stranger = await emit(tenant, cloud_event(subject="user_2", data={"calls": 2}))
    assert (stranger.status, stranger.body["code"]) == (503, "store_unavailable")

    own_valkey.start()
    await tenant.world.edge.ready()
    await is_empty(spool)
    assert (await event_ids(tenant))[1:] == [calls["event_id"]]


async def test_a_redis_without_memory(tenant: Tenant, spool: Path) -> None:
    """It refuses to write: usage is spooled, and taken in once it writes again."""
    await tenant.world.redis.config_set("maxmemory", 1)
    sent = [await spooled(tenant) for _ in range(3)]
    await tenant.world.redis.config_set("maxmemory", 0)
    await is_empty(spool)
    assert (await event_ids(tenant))[1:] == sent


async def test_what_needs_an_answer_gets_none(tenant: Tenant, own_valkey: EmbeddedValkey) -> None:
    """Checks and enforced usage are 503 while Redis is away, and what is wrong is refused as ever."""
    await away(tenant, own_valkey)
    for answer in (await tenant.check("user_1"), await tenant.use("user_1", enforce=True)):
        assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
    early = to_datetime(now_at() - 2 * 3600 * MICRO).isoformat()
    for answer, code in (
        (await tenant.use("user_1", units=0), Code.INVALID_UNITS),
        (await tenant.use("user_1", timestamp=early), Code.TIMESTAMP_OUT_OF_RANGE),
        (await tenant.use("user_1", "no_such"), Code.UNKNOWN_FEATURE),
        (await tenant.use("user_1", "unpriced"), Code.FEATURE_NOT_IN_PLAN),
        (await tenant.use("user_1", "dear", units=10**9), Code.COST_TOO_LARGE),
    ):
        assert answer.body["code"] == code.value
    await spooled(tenant, "never_seen", feature_key="no_such")
    await spooled(tenant, "never_seen", timestamp=to_datetime(now_at() - 3000 * MICRO).isoformat())
    assert (await tenant.use("user_1", timestamp=early)).status == 422
    ready = await tenant.world.send("GET", "/readyz")
    assert (ready.status, ready.body["status"]) == (200, "degraded")
    assert ready.body["parts"]["redis"]["status"] == "degraded"


async def test_keys_that_were_seen_lately_serve(tenant: Tenant, own_valkey: EmbeddedValkey) -> None:
    """For a quarter of an hour; one that was never seen, has ended or was revoked does not."""
    world = tenant.world
    revoked, ending, never = (
        await world.tenant(),
        await world.tenant(expires_at=now_at() + 3 * MICRO),
        await world.tenant(),
    )
    for other in (revoked, ending):
        await other.seed("user_1")
        assert (await other.use("user_1")).status == 202
    await world.redis.set(keys.api_key(key_digest.digest(PEPPER.encode(), revoked.key)), keys.UNKNOWN_KEY)

    async def is_told() -> bool:
        return (await revoked.use("user_1")).status == 401

    await wait_until_async(is_told, SECONDS, "the edge is told that the key is revoked")
    await away(tenant, own_valkey)
    for other in (revoked, never):
        answer = await other.use("user_1")
        assert (answer.status, answer.body["code"]) == (503, "store_unavailable")

    async def has_ended() -> bool:
        return (await ending.use("user_1")).status == 503

    await wait_until_async(has_ended, SECONDS, "the key has ended")
    await spooled(tenant)  # its second is over, too


async def test_a_key_that_is_revoked_while_redis_is_away(tenant: Tenant, own_valkey: EmbeddedValkey) -> None:
    """Core knows of it, is asked beside the requests that go on, and the key is believed no more; others are."""
    revoked = await tenant.world.tenant()
    for each in (tenant, revoked):
        await each.seed("user_1")
        assert (await each.use("user_1")).status == 202
    await away(tenant, own_valkey)
    await spooled(revoked)
    tenant.world.core.issued.discard(key_digest.digest(PEPPER.encode(), revoked.key).hex())

    async def is_believed_no_more() -> bool:
        return (await revoked.use("user_1")).status == 503

    await wait_until_async(is_believed_no_more, 3, "the key to be believed no more")
    await spooled(tenant)


# ---- core or the flusher is away


async def test_an_account_that_core_does_not_bring(tenant: Tenant, spool: Path) -> None:
    """Usage of a customer who is not loaded is spooled until core is back; others go on."""
    core, status = tenant.world.core, "broken"

    async def load(question: dict[str, Any]) -> str:
        if status == "loaded":
            await tenant.seed(question["end_user_id"], 10)
        return status

    core.answers["accounts"] = load
    first = await spooled(tenant, "user_2")
    status = "busy"
    sent = [first, *[await spooled(tenant, "user_2") for _ in range(5)]]
    assert (await tenant.use("user_1")).body["balance"] == 998
    status = "loaded"
    await is_empty(spool)
    assert await event_ids(tenant, "user_2") == sent
    assert (await tenant.use("user_2")).body["balance"] == 3


async def test_new_usage_stands_behind_what_is_spooled(tenant: Tenant, spool: Path) -> None:
    """At a boundary: the first waits and is spooled, those after it join it at once; order holds over the publish."""
    account = tenant.account_key("user_1")
    await tenant.world.redis.hset(account, "valid_until", now_at() - 1)
    sent = [await spooled(tenant, idempotency_key=str(number)) for number in range(20)]
    enforced = await tenant.use("user_1", enforce=True)
    assert (enforced.status, enforced.body["code"]) == (503, "account_unavailable")
    published = {"revision": 4, "valid_until": now_at() + 600 * MICRO}
    await tenant.world.redis.hset(account, mapping=published)
    answers = [await tenant.use("user_1", idempotency_key=str(number)) for number in range(20, 40)]
    await is_empty(spool)
    assert (await event_ids(tenant))[1:] == [*sent, *[answer.body["event_id"] for answer in answers]]
    assert (await tenant.use("user_1", enforce=True)).body["balance"] == 1000 - 42


async def test_a_customer_who_has_to_wait_holds_up_no_other(tenant: Tenant, own_valkey: EmbeddedValkey) -> None:
    """Everybody's usage is spooled; one account is at its boundary and stays there, the others are taken in."""
    users = [f"other_{number}" for number in range(100)]
    for user in users:
        await tenant.seed(user, 10)
    await tenant.seed("stuck", 10, valid_until=now_at() - 1)
    await away(tenant, own_valkey)
    for user in ("stuck", *users):
        await spooled(tenant, user)
    own_valkey.start()

    async def are_taken_in() -> bool:
        return all([await event_ids(tenant, user) for user in users])

    await wait_until_async(are_taken_in, SECONDS, "the others are taken in")
    assert await event_ids(tenant, "stuck") == []


# ---- what is never taken in


async def test_what_is_refused_for_good_is_left_as_rejected(
    tenant: Tenant, own_valkey: EmbeddedValkey, spool: Path
) -> None:
    """No such customer, no such feature, too dear, a key used otherwise: each entry says what was sent, and why not."""
    await away(tenant, own_valkey)
    sent_at = now_at() - 5 * MICRO
    await spooled(tenant, "nobody", units=3, timestamp=to_datetime(sent_at).isoformat(), properties={"a": 1})
    await tenant_of_user_2(tenant, own_valkey, spool)
    [nobody] = await read(tenant, "nobody")
    assert (nobody.kind, nobody.cost_micro, nobody.payload) == (EntryKind.REJECTED, 0, None)
    assert nobody.rejection is not None
    assert (nobody.rejection.code, nobody.rejection.usage.feature_key) == ("unknown_customer", "api_calls")
    assert (nobody.rejection.usage.units_micro, nobody.rejection.usage.properties) == (3 * MICRO, '{"a": 1}')
    assert nobody.rejection.usage.occurred_at == sent_at
    rejected = {e.rejection.code: e.rejection.usage for e in await read(tenant, "user_2") if e.rejection is not None}
    assert rejected.keys() == {"unknown_feature", "cost_too_large", "idempotency_key_reused"}
    assert rejected["idempotency_key_reused"].idempotency_key == "k"
    assert (await tenant.check("user_2")).body["balance"] == 9


async def tenant_of_user_2(tenant: Tenant, valkey: EmbeddedValkey, spool: Path) -> None:
    """Usage of a customer whose plan the edge has not seen; then Redis is back with one who has spent one credit."""

    async def load(question: dict[str, Any]) -> str:
        if question["end_user_id"] != "user_2":
            return "unknown"
        await tenant.seed("user_2", 10, dear_plan(tenant))
        return "loaded"

    tenant.world.core.answers["accounts"] = load
    await spooled(tenant, "user_2", idempotency_key="k")
    await spooled(tenant, "user_2", idempotency_key="k", units=2)
    await spooled(tenant, "user_2", feature_key="no_such")
    await spooled(tenant, "user_2", feature_key="dear", units=10**9)
    valkey.start()
    await is_empty(spool)


async def test_a_rejection_waits_for_room_in_the_stream(own_valkey: EmbeddedValkey, spool: Path) -> None:
    """It is an entry like any other, and the stream has a bound: until there is room it stays in the spool."""
    async with edge_on(own_valkey.url, spool, STREAM_MAX_ENTRIES="3") as world:
        tenant = await world.tenant()
        await tenant.seed("user_1", 10)
        assert (await tenant.use("user_1")).status == 202
        stream = keys.stream(tenant.partition("nobody"))
        for number in range(3):
            await world.redis.xadd(stream, {"a": "x", "k": "t", "t": 1, "r": 1, "c": 0}, id=f"1-{number + 1}")
        await away(tenant, own_valkey)
        await spooled(tenant, "nobody")
        await spooled(tenant, "user_1")
        own_valkey.start()

        async def is_asked() -> bool:
            return len([1 for kind, _ in world.core.asked if kind == "accounts"]) > 1

        await wait_until_async(is_asked, SECONDS, "it is tried again")
        assert await read(tenant, "nobody") == []
        await world.redis.xtrim(stream, 0)
        await is_empty(spool)
        assert [entry.kind for entry in await read(tenant, "nobody")] == [EntryKind.REJECTED]


async def test_a_lasting_fault_of_ours_is_rejected(own_valkey: EmbeddedValkey, spool: Path) -> None:
    """An account that no script can work with: after some attempts its usage is listed, and holds up nobody."""
    async with edge_on(own_valkey.url, spool) as world:
        tenant = await world.tenant()
        await tenant.seed("user_1", 10)
        assert (await tenant.use("user_1")).status == 202
        await tenant.seed("user_2", 10, base="no number")
        await away(tenant, own_valkey)
        for user in ("user_2", "user_1", "user_2"):
            await spooled(tenant, user)
        own_valkey.start()
        await is_empty(spool)
        assert [entry.kind for entry in await read(tenant)] == [EntryKind.USAGE] * 2
        found = await read(tenant, "user_2")
        assert [entry.rejection and entry.rejection.code for entry in found] == ["internal_error"] * 2
