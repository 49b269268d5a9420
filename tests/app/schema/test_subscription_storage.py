"""What 0016_subscriptions carries over: subscriptions that nothing turned, which the flusher turns from then on."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from app.embedded.valkey import EmbeddedValkey
from app.io.migrate import migrate
from app.io.postgres import Database, Transaction
from app.jobs.tick import Ticker
from app.ledger import store as ledger_store
from app.ledger.book import Account, Origin, block_account
from app.ledger.verify import verify
from app.rules.burndown import Block
from app.rules.chain import GENESIS
from app.rules.moments import to_at
from app.wire.snapshot import PlanSnapshot, encode_plan
from tests.app.core import Core, open_core, open_flusher
from tests.app.schema.catalogue import connected
from tests.app.schema.test_usage_storage import migrate_to
from tests.conftest import DatabaseUrls
from tests.waiting import wait_until_async

CUSTOMER, BLOCK, VERSION, VARIANT, PLAN, GRANT, SUBSCRIPTION = (UUID(int=number) for number in range(1, 8))
CREDIT = 1_000_000
WEEK = timedelta(days=7)
BEGUN_AT = datetime.now(UTC).replace(microsecond=0) - 2 * WEEK - timedelta(days=5)
"""Of the one period that it had; nothing has turned it since."""


PLANS = """
    INSERT INTO plans (environment_id, id, key, name, created_at) VALUES ($1, $2, 'pro', 'Pro', $3)
"""
VARIANTS = """
    INSERT INTO plan_variants (environment_id, id, plan_id, key, created_at) VALUES ($1, $2, $3, 'weekly', $4)
"""
VERSIONS = """
    INSERT INTO plan_variant_versions (environment_id, id, variant_id, version, interval_unit, interval_count,
                                       overage_policy, created_at, billing_mode)
    VALUES ($1, $2, $3, 1, 'week', 1, 'block', $4, $5)
"""
CURRENT = "UPDATE plan_variants SET current_version_id = $2 WHERE environment_id = $1"
GRANTS = """
    INSERT INTO plan_grants (environment_id, id, variant_version_id, amount_micro, interval_unit, interval_count)
    VALUES ($1, $2, $3, $4, 'week', 1)
"""
ACCOUNTS = """
    INSERT INTO accounts (environment_id, id, end_user_id, revision, seq, total_micro, debt_micro, applied_micro,
                          posted_at, head_hash, snapshot_id, subscription_status, created_at)
    VALUES ($1, $2, 'u', 1, 0, 0, 0, 0, $3, $4, $5, 'active', $3)
"""
SUBSCRIPTIONS = """
    INSERT INTO subscriptions (environment_id, id, customer_id, variant_id, variant_version_id, state, anchor_at,
                               period_start_at, period_end_at, created_at)
    VALUES ($1, $2, $3, $4, $5, 'active', $6, $6, $7, $6)
"""


async def insert_catalogue(connection: Any, environment_id: UUID, billing_mode: str) -> None:
    """A tenant, and a plan that gives 100 credits a week."""
    await connection.execute("INSERT INTO tenants VALUES ($1, 'acme', $2)", PLAN, BEGUN_AT)
    await connection.execute("INSERT INTO environments VALUES ($1, $2, 'sandbox', $3)", environment_id, PLAN, BEGUN_AT)
    await connection.execute(PLANS, environment_id, PLAN, BEGUN_AT)
    await connection.execute(VARIANTS, environment_id, VARIANT, PLAN, BEGUN_AT)
    await connection.execute(VERSIONS, environment_id, VERSION, VARIANT, BEGUN_AT, billing_mode)
    await connection.execute(CURRENT, environment_id, VERSION)
    await connection.execute(GRANTS, environment_id, GRANT, VERSION, 100 * CREDIT)


async def insert_subscription(connection: Any, environment_id: UUID) -> None:
    """A customer, and a subscription that has begun."""
    await connection.execute(
        "INSERT INTO customers (environment_id, id, end_user_id, created_at) VALUES ($1, $2, 'u', $3)",
        *(environment_id, CUSTOMER, BEGUN_AT),
    )
    snapshot_id, content = encode_plan(PlanSnapshot(environment_id, subscribed=True, features={}))
    await connection.execute(
        "INSERT INTO snapshots VALUES ($1, $2, $3, $4)", environment_id, snapshot_id, content, BEGUN_AT
    )
    await connection.execute(ACCOUNTS, environment_id, CUSTOMER, BEGUN_AT, GENESIS, snapshot_id)
    period = BEGUN_AT, BEGUN_AT + WEEK
    await connection.execute(SUBSCRIPTIONS, environment_id, SUBSCRIPTION, CUSTOMER, VARIANT, VERSION, *period)


async def grant(tx: Transaction, environment_id: UUID) -> None:
    """The credit of the first week, as core granted it."""
    at = to_at(BEGUN_AT)
    block = Block(
        BLOCK, 100 * CREDIT, 100, paid=False, known_revision=1, effective_at=at, expires_at=to_at(BEGUN_AT + WEEK),
        granted_at=at, source="plan", granted_micro=100 * CREDIT,
    )  # fmt: skip
    account = Account(environment_id, CUSTOMER, "u", 1, 0, 0, 0, 0, at, GENESIS, "", "active", [block])
    lines = [(block_account(BLOCK), block.granted_micro), ("issued:plan", -block.granted_micro)]
    posted = account.post("grant", lines, at, Origin("core"))
    await ledger_store.insert_transactions(tx, [posted], BEGUN_AT)
    await ledger_store.insert_blocks(tx, [(account, block)])
    await tx.connection.execute(
        "UPDATE accounts SET seq = 1, total_micro = $2, head_hash = $3, valid_until = $4 WHERE id = $1",
        *(CUSTOMER, account.total_micro, account.head_hash, BEGUN_AT + WEEK),
    )


async def prepare(urls: DatabaseUrls, environment_id: UUID, billing_mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of the time before, brought up to date."""
    await migrate_to(urls, "0015_catalogue", monkeypatch)
    async with connected(urls.owner) as connection:
        await insert_catalogue(connection, environment_id, billing_mode)
        await insert_subscription(connection, environment_id)
    owner = await Database.open(urls.owner, "test", 1)
    await owner.run(None, lambda tx: grant(tx, environment_id))
    await owner.close()
    await migrate(urls.owner, urls.roles)


class Turned(NamedTuple):
    """How a subscription stands two weeks and five days after it began."""

    state: str
    index: int
    actions: list[str]
    total: int
    """Of the customer, in credits."""


async def turned(core: Core, urls: DatabaseUrls, expected: Turned) -> list[str]:
    """Ticks, as jobs leave them, until the subscription stands so; what became of it."""
    jobs = await Database.open(urls.of("quotastack_jobs"), "jobs", 1)
    ticker = Ticker(jobs, core.parts.redis, core.parts.clock)

    async def stands_so() -> bool:
        await ticker.round(asyncio.Event())
        async with connected(urls.owner) as connection:
            row = await connection.fetchrow("SELECT state, period_index FROM subscriptions WHERE id = $1", SUBSCRIPTION)
        return row is not None and (row["state"], row["period_index"]) == (expected.state, expected.index)

    try:
        async with open_flusher(urls, core):
            await wait_until_async(stands_so, 20, f"the subscription to be {expected.state}")
    finally:
        await jobs.close()
    async with connected(urls.owner) as connection:
        rows = await connection.fetch("SELECT action FROM subscription_history ORDER BY number")
    return [row["action"] for row in rows]


@pytest.mark.parametrize(
    ("billing_mode", "expected"),
    [
        ("postpaid", Turned("active", 2, ["turn", "turn"], 100)),
        ("prepaid", Turned("expired", 0, ["fall_overdue", "expire"], 0)),
    ],
)
async def test_the_flusher_turns_what_was_there_before(
    empty_urls: DatabaseUrls,
    valkey: EmbeddedValkey,
    monkeypatch: pytest.MonkeyPatch,
    billing_mode: str,
    expected: Turned,
) -> None:
    """All that would have happened since happens, dated so; old credit expires, and verify finds nothing."""
    environment_id = uuid4()
    await prepare(empty_urls, environment_id, billing_mode, monkeypatch)
    async with open_core(empty_urls, valkey.url) as core:
        assert await turned(core, empty_urls, expected) == expected.actions
        async with connected(empty_urls.owner) as connection:
            row = await connection.fetchrow("SELECT * FROM accounts")
            moves = await connection.fetch("SELECT kind, posted_at FROM ledger_transactions ORDER BY seq")
        assert row is not None
        assert (row["total_micro"], row["subscription_status"]) == (
            expected.total * CREDIT,
            "active" if expected.total else "none",
        )
        weeks = [
            (kind, BEGUN_AT + week * WEEK) for week in range(1, expected.index + 1) for kind in ("expiry", "grant")
        ]
        assert [tuple(move) for move in moves] == [("grant", BEGUN_AT), *(weeks or [("expiry", BEGUN_AT + WEEK)])]
        report = await verify(empty_urls.owner, core.parts.redis, environment_id, None)
        assert [found.finding for found in report.findings] == []
