"""Granting, and reading balances, history and usage."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.ledger import routes
from app.wire import keys
from app.wire.codes import Code
from app.wire.ids import parse, show
from tests.app.core import INCARNATION, PARTITIONS, Core, Tenant
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

START = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
ADD_KEY = """
    INSERT INTO usage_event_keys (environment_id, account_id, id, seq, accepted_at) VALUES ($1, $2, $3, $4, $5)
"""
ADD_HOUR = """
    INSERT INTO usage_hours AS h VALUES ($1, $2, $3, date_trunc('hour', $4::timestamptz, 'UTC'), $5, $6, 1)
    ON CONFLICT (environment_id, account_id, feature_key, hour_at) DO UPDATE
    SET units_micro = h.units_micro + $5, cost_micro = h.cost_micro + $6, events = h.events + 1
"""


async def customer(tenant: Tenant, end_user_id: str = "u") -> UUID:
    """A new customer; the account's id."""
    made = await tenant.sandbox.made("/v1/customers", {"end_user_id": end_user_id})
    return parse("cus", made["customer_id"])


async def post_events(
    connection: asyncpg.Connection, tenant: Tenant, account_id: UUID, events: Sequence[dict[str, Any]]
) -> list[str]:
    """Events as the flusher posts them; their ids as clients see them."""
    ids = []
    for seq, event in enumerate(events, 1):
        row = {
            "environment_id": tenant.environment_id,
            "id": uuid4(),
            "account_id": account_id,
            "seq": seq,
            "feature_key": "f",
            "units_micro": 1_000_000,
            "cost_micro": 500_000,
            "debt_micro": 0,
            "draws": "",
            "price_id": uuid4(),
            "occurred_at": START,
            "accepted_at": START,
            "recorded_at": START,
            **event,
        }
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        statement = f"INSERT INTO usage_events ({', '.join(row)}) VALUES ({places})"  # noqa: S608 - names from above
        await connection.execute("SELECT make_usage_partition($1)", row["accepted_at"])
        await connection.execute(statement, *row.values())
        owner = (row["environment_id"], row["account_id"])
        await connection.execute(ADD_KEY, *owner, row["id"], row["seq"], row["accepted_at"])
        figures = (row["feature_key"], row["occurred_at"], row["units_micro"], row["cost_micro"])
        await connection.execute(ADD_HOUR, *owner, *figures)
        ids.append(show("evt", row["id"]))
    return ids


async def test_a_grant_is_a_block_and_a_balance(core: Core, tenant: Tenant) -> None:
    """Spent in the order of the answer's blocks: priority, expiry, free before paid."""
    await customer(tenant)
    far = "2099-01-01T00:00:00Z"
    grants: list[dict[str, Any]] = [
        {"amount": 1, "source": "topup"},
        {"amount": 2},
        {"amount": 3, "expires_at": far},
        {"amount": 0.25, "priority": 1},
    ]
    balance = Decimal(0)
    for grant in grants:
        made = await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", **grant})
        balance += Decimal(str(grant["amount"]))
        assert made["credit_block_id"].startswith("blk_")
        assert Decimal(str(made["balance"])) == balance
    credit = await tenant.sandbox.read("/v1/customers/u/credits")
    assert [block["remaining"] for block in credit["blocks"]] == [0.25, 3, 2, 1]
    assert [block["paid"] for block in credit["blocks"]] == [False, False, False, True]
    assert credit["blocks"][1]["expires_at"] == far
    assert (credit["balance"], credit["total"], credit["reserved"]) == (6.25, 6.25, 0)
    view = await core.parts.redis.read_account(tenant.environment_id, "u")
    assert view is not None
    assert view.available_micro == 6_250_000


async def test_what_is_under_way_is_pending(core: Core, tenant: Tenant) -> None:
    """The balance is what the edge would say: the ledger's total less what was accepted and not yet applied."""
    await customer(tenant)
    await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 10})
    ref = keys.account_ref(keys.environment_ref(tenant.environment_id), "u")
    account = keys.account(keys.partition_of(ref, PARTITIONS), ref)
    await core.parts.redis.client.hincrby(account, "accepted", 2_500_000)
    credit = await tenant.sandbox.read("/v1/customers/u/credits")
    assert (credit["balance"], credit["pending"], credit["total"]) == (7.5, 2.5, 10)
    granted = await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 1})
    assert granted["balance"] == 8.5


async def leave_entry(core: Core, tenant: Tenant) -> bytes:
    """Have the memory forget the customer, of whom something is in the stream; its id. Only its end is looked at."""
    ref, redis = keys.account_ref(keys.environment_ref(tenant.environment_id), "u"), core.parts.redis.client
    partition = keys.partition_of(ref, PARTITIONS)
    await redis.delete(keys.account(partition, ref))
    stream_id = await redis.xadd(keys.stream(partition), {"a": ref})
    await redis.xdel(keys.stream(partition), stream_id)
    return stream_id


async def post_until(urls: DatabaseUrls, stream_id: bytes, incarnation: UUID = INCARNATION) -> None:
    """What a flusher notes with its last transaction."""
    statement = "UPDATE stream_cursors SET incarnation = $1, last_id = $2"
    async with connected(urls.owner) as connection:
        await connection.execute(statement, incarnation, stream_id.decode())


async def test_what_may_be_under_way_is_not_called_nothing(
    core: Core, tenant: Tenant, urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an account that is not in memory, while its stream is not posted: null, and no explanation."""
    monkeypatch.setattr(routes, "SETTLE_SECONDS", 0.05)
    await customer(tenant)
    await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 10})
    stream_id = await leave_entry(core, tenant)
    for incarnation, last_id in ((INCARNATION, b"0-1"), (UUID(int=2), stream_id)):
        await post_until(urls, last_id, incarnation)
        credit = await tenant.sandbox.read("/v1/customers/u/credits")
        assert (credit["balance"], credit["pending"], credit["total"]) == (None, None, 10)
        assert len(credit["blocks"]) == 1
        explained = await tenant.sandbox.get("/v1/customers/u/credits/explain", amount=1)
        assert_problem(explained, Code.ACCOUNT_LOADING)
    granted = await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 1})
    assert granted["balance"] is None


async def test_what_is_under_way_is_waited_for(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """Once everything is posted that was in the stream, nothing of an account is pending that is not in memory."""
    await customer(tenant)
    await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 10})
    stream_id = await leave_entry(core, tenant)
    asked = asyncio.create_task(tenant.sandbox.read("/v1/customers/u/credits"))
    await post_until(urls, stream_id)
    credit = await asked
    assert (credit["balance"], credit["pending"]) == (10, 0)
    granted = await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 1})
    assert granted["balance"] == 11


async def test_the_ledger_shows_every_step(tenant: Tenant) -> None:
    """Newest first, each from the total before to the total after, with lines that sum to zero."""
    await customer(tenant)
    for amount in (1, 2, 3):
        await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": amount})
    first = await tenant.sandbox.read("/v1/customers/u/ledger", limit=2)
    rest = await tenant.sandbox.read("/v1/customers/u/ledger", limit=2, cursor=first["next_cursor"])
    rows = first["data"] + rest["data"]
    assert [row["seq"] for row in rows] == [3, 2, 1]
    assert [(row["total_before"], row["total_after"]) for row in rows] == [(3, 6), (1, 3), (0, 1)]
    for row in rows:
        assert row["transaction_id"].startswith("txn_")
        assert sum(line["amount"] for line in row["lines"]) == 0
        assert [line["account"].partition(":")[0] for line in row["lines"]] == ["block", "issued"]
    assert rest["next_cursor"] is None
    assert_problem(await tenant.sandbox.get("/v1/customers/v/ledger"), Code.UNKNOWN_CUSTOMER)


async def test_usage_is_summed(tenant: Tenant, urls: DatabaseUrls) -> None:
    """By customer and feature, in hours, days or one total, in a half-open range, page by page."""
    accounts = {name: await customer(tenant, name) for name in ("u", "v")}
    hour = timedelta(hours=1)
    async with connected(urls.owner) as connection:
        events: list[dict[str, Any]] = [
            {"occurred_at": START},
            {"occurred_at": START + hour, "feature_key": "g"},
            {"occurred_at": START + 24 * hour, "units_micro": 2_500_000},
            {"occurred_at": START + 48 * hour},
        ]
        await post_events(connection, tenant, accounts["u"], events)
        await post_events(connection, tenant, accounts["v"], [{"occurred_at": START}])
    span = {"from": "2026-03-01T10:30:00Z", "to": "2026-03-03T10:30:00Z"}

    def brief(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return [
            tuple(row[name] for name in ("end_user_id", "feature_key", "units", "credits", "events")) for row in rows
        ]

    total = await tenant.sandbox.read("/v1/usage", **span)
    assert brief(total["data"]) == [("u", "f", 3.5, 1, 2), ("u", "g", 1, 0.5, 1), ("v", "f", 1, 0.5, 1)]
    assert {row["start"] for row in total["data"]} == {span["from"]}
    days = await tenant.sandbox.read("/v1/usage", bucket="day", end_user_id="u", feature_key="f", **span)
    assert [row["start"] for row in days["data"]] == ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"]
    paged: list[Any] = []
    query: dict[str, Any] = {"bucket": "hour", "limit": 1, **span}
    while query.get("cursor", "") is not None:
        body = await tenant.sandbox.read("/v1/usage", **query)
        paged += body["data"]
        query["cursor"] = body["next_cursor"]
    assert paged == (await tenant.sandbox.read("/v1/usage", bucket="hour", **span))["data"]
    assert [row["start"][11:16] for row in paged] == ["10:00", "10:00", "11:00", "10:00"]
    assert (await tenant.sandbox.read("/v1/usage"))["data"] == []


async def test_events_are_listed(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Of one customer, newest first, with all that was sent."""
    account_id = await customer(tenant)
    events: list[dict[str, Any]] = [
        {"idempotency_key": "k", "properties": '{"model": "m", "n": 0.10}', "debt_micro": 250_000},
        {"feature_key": "g"},
        {},
    ]
    async with connected(urls.owner) as connection:
        ids = await post_events(connection, tenant, account_id, events)
    listed: list[Any] = []
    query: dict[str, Any] = {"end_user_id": "u", "limit": 2}
    while query.get("cursor", "") is not None:
        body = await tenant.sandbox.read("/v1/usage/events", **query)
        listed += body["data"]
        query["cursor"] = body["next_cursor"]
    assert [event["event_id"] for event in listed] == ids[::-1]
    first = listed[-1]
    assert (first["cost"], first["overage"], first["units"]) == (0.5, 0.25, 1)
    assert (first["idempotency_key"], first["properties"]) == ("k", {"model": "m", "n": 0.1})
    only = await tenant.sandbox.read("/v1/usage/events", end_user_id="u", feature_key="g")
    assert [event["event_id"] for event in only["data"]] == [ids[1]]
    assert (await tenant.live.get("/v1/usage/events", end_user_id="u")).status_code == 404


async def test_what_became_of_an_event(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """Pending while only the edge knows it, posted or rejected after, and 404 for what was never accepted."""
    account_id = await customer(tenant)
    pending, refused, rejected, nowhere = (uuid4() for _ in range(4))
    environment = keys.environment_ref(tenant.environment_id)
    for event_id, outcome in ((pending, b"+500000:1:0"), (refused, b"-500000:1")):
        await core.parts.redis.client.set(keys.seen(3, environment, event_id), b"\x02ab" + outcome)
    async with connected(urls.owner) as connection:
        [posted] = await post_events(connection, tenant, account_id, [{}])
        row = (tenant.environment_id, rejected, "u", "1-1", "unknown_feature", "no such feature", b"", START)
        await connection.execute("INSERT INTO rejected_events VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *row)

    async def status(event_id: str) -> Any:
        return await tenant.sandbox.read(f"/v1/usage/events/{event_id}")

    assert (await status(posted))["status"] == "posted"
    assert (await status(posted))["event"]["event_id"] == posted
    assert (await status(show("evt", pending)))["status"] == "pending"
    body = await status(show("evt", rejected))
    assert (body["status"], body["code"], body["detail"]) == ("rejected", "unknown_feature", "no such feature")
    for unknown in (refused, nowhere):
        assert_problem(await tenant.sandbox.get(f"/v1/usage/events/{show('evt', unknown)}"), Code.NOT_FOUND)
    assert (await tenant.live.get(f"/v1/usage/events/{posted}")).status_code == 404
