"""What could not be posted is listed, and taken in again: on real stores, through core's routes."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec
import pytest

from app.io.postgres import Transaction
from app.main import open_parts, public_application
from app.rejections import service, store
from app.rejections.service import Retrying
from app.settings import CoreSettings
from app.wire import keys
from app.wire.codes import Code
from app.wire.events import NO_PRICE, Rejection, UsagePayload, encode_rejection, encode_usage
from app.wire.ids import derived_id, parse, show
from app.wire.key_digest import digest, make_key
from app.wire.scopes import Scope
from tests.app.core import SECRETS, Client
from tests.app.web.test_problems import assert_problem
from tests.flusher.world import AGREEMENT, CREDIT, World
from tests.waiting import wait_until_async

HAPPENED = datetime(2026, 5, 31, 23, 59, 59, 999_999, tzinfo=UTC)


async def owned(world: World, statement: str, *arguments: object) -> None:
    """One statement of the owner."""
    connection = await asyncpg.connect(world.urls["owner"])
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    """Core's public routes, for the world's environment."""
    key = make_key("sandbox", secrets.randbelow(62**32))
    statement = """
        INSERT INTO api_keys (environment_id, id, digest, display_prefix, scopes, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
    """
    row = (uuid4(), digest(SECRETS["key_pepper"].encode(), key), key[:12], [Scope.USAGE_WRITE], world.clock.now())
    await owned(world, statement, world.environment_id, *row)
    fixed: dict[str, Any] = {"redis_url": world.redis_url, "core_database_url": world.urls["quotastack_core"]}
    settings = msgspec.convert(fixed | {"partitions": AGREEMENT.partitions} | SECRETS, CoreSettings)
    async with open_parts(settings, world.clock) as parts:
        transport = httpx.ASGITransport(cast("Any", public_application(parts)), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://core") as http:
            yield Client(http, key)


async def leave(world: World, end_user_id: str, key: str, units: int) -> str:
    """An entry of a customer whom the ledger does not have, as Redis may hold after the ledger was restored; its id."""
    ref, at = world.ref(end_user_id), int(HAPPENED.timestamp()) * 1_000_000 + 999_999
    event_id = derived_id(ref, key.encode())
    payload = UsagePayload(event_id, "calls", units * CREDIT, world.price_id, None, key, '{"n": 1.0}')
    fields = {"a": ref, "k": "u", "t": at, "r": 1, "c": units * CREDIT, "p": encode_usage(payload)}
    await world.redis.client.xadd(keys.stream(world.redis.partition(ref)), fields)
    return show("evt", event_id)


async def listed(client: Client, count: int, **query: Any) -> list[Any]:
    """What the route lists, once that is so much."""

    async def rows() -> list[Any] | None:
        found = (await client.read("/v1/usage/rejected", **query))["data"]
        return found if len(found) == count else None

    return await wait_until_async(rows, 20, f"{count} events to be listed as rejected")


async def status(client: Client, event_id: str) -> str:
    """What became of the event."""
    return (await client.read(f"/v1/usage/events/{event_id}"))["status"]


async def entries(world: World, end_user_id: str) -> int:
    """How many entries the stream of the customer's partition has."""
    return await world.redis.client.xlen(keys.stream(world.redis.partition(world.ref(end_user_id))))


async def test_a_rejected_event_is_retried_once_and_posted(world: World, client: Client) -> None:
    """It is pending until it is posted, at the cost and moment that it had; who asks again learns how it stands."""
    event_id = await leave(world, "lost", "k", 5)
    path = f"/v1/usage/rejected/{event_id}/retry"
    async with world.flusher():
        [row] = await listed(client, 1)
    assert (row["event_id"], row["end_user_id"], row["code"]) == (event_id, "lost", "unknown_customer")
    assert (row["status"], row["is_retryable"], row["retried_at"]) == ("rejected", True, None)
    assert (row["feature_key"], row["units"], row["cost"], row["idempotency_key"]) == ("calls", 5, 5, "k")
    assert row["accepted_at"] == "2026-05-31T23:59:59.999999Z"
    assert await status(client, event_id) == "rejected"
    assert_problem(await client.post(path, {}, key="early"), Code.UNKNOWN_CUSTOMER)

    await world.customer("lost", 100)
    async with world.flusher():
        await world.view("lost")
        await world.at_rest("lost")
    before = await entries(world, "lost")
    answer = await client.post(path, {}, key="once")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    again = await client.post(path, {}, key="once")
    assert (again.content, again.headers["idempotent-replayed"]) == (answer.content, "true")
    refused = assert_problem(await client.post(path, {}), Code.ALREADY_RETRIED)
    assert refused["context"] == {"status": "pending"}
    stored = await client.post(path, {}, key="early")
    assert (stored.json()["code"], stored.headers["idempotent-replayed"]) == ("unknown_customer", "true")
    assert await entries(world, "lost") == before + 1
    view = await world.view("lost")
    assert (view.pending_micro, view.available_micro) == (5 * CREDIT, 95 * CREDIT)
    assert await status(client, event_id) == "pending"
    assert (await world.verify()).findings == []

    async with world.flusher():
        await world.posted(1)
        assert (await world.at_rest("lost")).available_micro == 95 * CREDIT
        assert await status(client, event_id) == "posted"
        refused = assert_problem(await client.post(path, {}), Code.ALREADY_RETRIED)
        assert refused["context"] == {"status": "posted"}
        [row] = await listed(client, 1)
        assert (row["status"], row["is_retryable"]) == ("posted", False)
        assert row["retried_at"] is not None
        assert (await world.verify()).findings == []
    [event] = await world.ledger("SELECT occurred_at, accepted_at, properties FROM usage_events")
    assert event["occurred_at"] == HAPPENED
    assert event["accepted_at"] > HAPPENED
    assert event["properties"] == '{"n": 1.0}'


async def test_a_retry_that_was_not_noted_is_noted_by_the_next(world: World, client: Client) -> None:
    """Core took it in again, and died: who asks again is answered as a retry is, once, though it is posted by then."""
    event_id = await leave(world, "lost", "k", 5)
    path = f"/v1/usage/rejected/{event_id}/retry"
    async with world.flusher():
        await listed(client, 1)
        await world.customer("lost", 100)
        await world.view("lost")
        await world.at_rest("lost")
        assert (await client.post(path, {})).status_code == 202
        await world.posted(1)
    connection = await asyncpg.connect(world.urls["owner"])
    await connection.execute("UPDATE rejected_events SET retried_at = NULL")
    await connection.close()
    answer = await client.post(path, {}, key="again")
    assert (answer.status_code, answer.json()["status"]) == (202, "posted")
    refused = assert_problem(await client.post(path, {}), Code.ALREADY_RETRIED)
    assert refused["context"] == {"status": "posted"}


async def reject(world: World, end_user_id: str, key: str, code: Code) -> str:
    """What an edge leaves of an event that it had spooled and could not take in; the event's id."""
    ref, at = world.ref(end_user_id), int(HAPPENED.timestamp()) * 1_000_000 + 999_999
    event_id = derived_id(ref, key.encode())
    usage = UsagePayload(event_id, "calls", 5 * CREDIT, NO_PRICE, at, key, None)
    payload = encode_rejection(Rejection(code.value, f"Not {end_user_id}.", usage))
    fields = {"a": ref, "k": "j", "t": at, "r": 0, "c": 0, "p": payload}
    await world.redis.client.xadd(keys.stream(world.redis.partition(ref)), fields)
    return show("evt", event_id)


async def test_what_an_edge_rejected_is_listed_once_and_costs_nothing(world: World, client: Client) -> None:
    """Of a customer who is there or not, also when it was rejected twice; it has no price, so it is not retried."""
    await world.customer("known", 100)
    async with world.flusher():
        event_id = await reject(world, "known", "k", Code.UNKNOWN_FEATURE)
        await reject(world, "known", "k", Code.UNKNOWN_FEATURE)
        await reject(world, "nobody", "k", Code.UNKNOWN_CUSTOMER)
        rows = {row["end_user_id"]: row for row in await listed(client, 2)}
        row = rows["known"]
        assert (row["event_id"], row["code"], row["detail"]) == (event_id, "unknown_feature", "Not known.")
        assert (row["status"], row["is_retryable"], row["cost"]) == ("rejected", False, None)
        assert (row["feature_key"], row["units"], row["idempotency_key"]) == ("calls", 5, "k")
        assert row["accepted_at"] == "2026-05-31T23:59:59.999999Z"
        assert rows["nobody"]["code"] == "unknown_customer"
        assert await status(client, event_id) == "rejected"
        assert_problem(await client.post(f"/v1/usage/rejected/{event_id}/retry", {}), Code.NOT_RETRYABLE)
        await world.view("known")
        assert (await world.at_rest("known")).available_micro == 100 * CREDIT
        assert (await world.verify()).findings == []


async def test_what_is_rejected_again_can_be_retried_again(world: World, client: Client) -> None:
    """Each rejection once, also where no table took the event; what the stream is read for again changes nothing."""
    await owned(world, "ALTER TABLE usage_events ADD CONSTRAINT harsh CHECK (units_micro <> 13000000)")
    await world.customer("unlucky", 100)
    event_id = show("evt", derived_id(world.ref("unlucky"), b"k"))
    async with world.flusher():
        await world.use("unlucky", "k", 13)
        [first] = await listed(client, 1)
        assert (first["event_id"], first["code"], first["units"]) == (event_id, "unreadable_entry", 13)
        assert first["is_retryable"]
        assert (await client.post(f"/v1/usage/rejected/{event_id}/retry", {})).status_code == 202

        async def is_rejected_again() -> bool:
            [row] = await listed(client, 1)
            return row["rejected_at"] != first["rejected_at"] and row["retried_at"] is None

        await wait_until_async(is_rejected_again, 20, "the retry to be rejected")
        assert (await world.at_rest("unlucky")).applied_micro == 26 * CREDIT
        await owned(world, "ALTER TABLE usage_events DROP CONSTRAINT harsh")
        assert (await client.post(f"/v1/usage/rejected/{event_id}/retry", {})).status_code == 202
        await world.posted(1)
        assert (await world.at_rest("unlucky")).available_micro == 87 * CREDIT
        assert await status(client, event_id) == "posted"
        assert (await world.verify()).findings == []


async def test_what_holds_no_event_is_not_retryable(world: World, client: Client) -> None:
    """Unreadable entries are listed with what is wrong, and refused by name; so is an id that nobody has."""
    await world.customer("good", 100)
    ref = world.ref("good")
    fields = {"a": ref, "k": "u", "t": "1", "r": "1", "c": "5", "p": b"\xc1"}
    await world.redis.client.xadd(keys.stream(world.redis.partition(ref)), fields)
    await world.redis.client.xadd(
        keys.stream(world.redis.partition(ref)), fields | {"k": "t", "a": world.ref("nobody")}
    )
    async with world.flusher():
        rows = await listed(client, 2)
    assert [row["is_retryable"] for row in rows] == [False, False]
    assert {row["cost"] for row in rows} == {None}
    for row in rows:
        answer = await client.post(f"/v1/usage/rejected/{row['event_id']}/retry", {})
        assert row["detail"] in assert_problem(answer, Code.NOT_RETRYABLE)["detail"]
    for unknown in (show("evt", uuid4()), "evt_x"):
        assert_problem(await client.post(f"/v1/usage/rejected/{unknown}/retry", {}), Code.NOT_FOUND)


async def test_rejected_usage_is_listed_page_by_page(world: World, client: Client) -> None:
    """The latest first, of all or of one customer, and of this environment only."""
    for number in range(5):
        await leave(world, f"lost {number % 2}", f"k{number}", 1)
    await owned(
        world,
        "INSERT INTO rejected_events (environment_id, id, end_user_id, stream_id, code, detail, entry, recorded_at) "
        "VALUES ($1, $1, 'lost 0', '1-1', 'c', 'd', '', now())",
        uuid4(),
    )
    async with world.flusher():
        rows = await listed(client, 5)
    paged: list[Any] = []
    query: dict[str, Any] = {"limit": 2}
    while query.get("cursor", "") is not None:
        body = await client.read("/v1/usage/rejected", **query)
        paged += body["data"]
        query["cursor"] = body["next_cursor"]
    assert paged == rows
    assert [row["rejected_at"] for row in rows] == sorted((row["rejected_at"] for row in rows), reverse=True)
    assert len(await listed(client, 3, end_user_id="lost 0")) == 3
    assert (await client.read("/v1/usage/rejected", end_user_id="nobody"))["data"] == []


async def test_a_crash_between_stream_and_row_is_made_good_by_the_next_retry(world: World, client: Client) -> None:
    """The event was appended and the row does not know: asking again appends nothing, and says that it is pending."""
    event_id = await leave(world, "lost", "k", 5)
    async with world.flusher():
        await listed(client, 1)
        await world.customer("lost", 100)
        await world.view("lost")
        await world.at_rest("lost")
    wanted = parse("evt", event_id)

    async def read(tx: Transaction) -> store.RejectedRow | None:
        return await store.read_rejected(tx, wanted)

    row = await world.core.run(world.environment_id, read)
    assert row is not None
    retrying = Retrying(world.core, world.redis, world.environment_id, 1_000, world.clock.now())
    before = await entries(world, "lost")
    await service.append_again(retrying, row)
    assert await entries(world, "lost") == before + 1
    assert await status(client, event_id) == "rejected"
    answer = await client.post(f"/v1/usage/rejected/{event_id}/retry", {})
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert await entries(world, "lost") == before + 1


async def test_a_retry_that_was_lost_with_the_memory_of_redis_is_made_anew(world: World, client: Client) -> None:
    """After the idempotency window an event that is neither posted nor rejected again may be retried once more."""
    event_id = await leave(world, "lost", "k", 5)
    async with world.flusher():
        await listed(client, 1)
        await world.customer("lost", 100)
        assert (await client.post(f"/v1/usage/rejected/{event_id}/retry", {})).status_code == 202
        await world.posted(1)
        await world.at_rest("lost")
    row = await world.core.run(world.environment_id, lambda tx: store.read_rejected(tx, parse("evt", event_id)))
    assert row is not None
    lost = msgspec.structs.replace(row, is_posted=False)
    window = timedelta(seconds=AGREEMENT.idempotency_window_seconds)
    for passed, allowed in ((timedelta(0), False), (window, False), (window + timedelta(minutes=1), True)):
        moment = cast("datetime", row.retried_at) + passed
        retrying = Retrying(world.core, world.redis, world.environment_id, 1_000, moment)
        assert retrying.allows(lost) == allowed
        assert not retrying.allows(row)


async def test_the_stream_has_its_bound_for_retries_too(world: World, client: Client) -> None:
    """A full stream takes nothing in, and the event can be retried later."""
    event_id = await leave(world, "lost", "k", 5)
    async with world.flusher():
        await listed(client, 1)
        await world.customer("lost", 100)
        await world.view("lost")
    row = await world.core.run(world.environment_id, lambda tx: store.read_rejected(tx, UUID(hex=event_id[4:])))
    assert row is not None
    retrying = Retrying(world.core, world.redis, world.environment_id, 0, world.clock.now())
    with pytest.raises(service.ServiceError) as caught:
        await service.append_again(retrying, row)
    assert caught.value.code is Code.BACKLOG
    assert (await client.post(f"/v1/usage/rejected/{event_id}/retry", {})).status_code == 202
