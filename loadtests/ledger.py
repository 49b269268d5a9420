"""Many customers in the ledger, each with one grant, and the proof of what became of them.

They are written with the product's own statements: through the API, ten thousand would take longer than everything
that is measured.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg

from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.ledger import store
from app.ledger.book import Account, Origin, block_account
from app.ledger.book import Transaction as Posting
from app.ledger.verify import verify
from app.rules.burndown import Block
from app.rules.chain import GENESIS
from app.rules.moments import NEVER_AT, to_at
from app.wire.agreement import Agreement
from loadtests.backlog import Backlog
from loadtests.catalogue import COST_MICRO, FIRST_REVISION, GRANT_MICRO, SUBSCRIPTION_STATUS, Catalogue
from loadtests.measuring import WrongResult

SOURCE = "promo"


async def insert_customers(
    owner_url: str, catalogue: Catalogue, end_user_ids: Sequence[str], blocks_each: int = 1
) -> None:
    """Make the environment and these customers, each with so many grants that come to the same."""
    now = datetime.now(UTC)
    opened = [_open_account(catalogue, end_user_id, blocks_each, to_at(now)) for end_user_id in end_user_ids]
    accounts = [account for account, _ in opened]
    blocks = [(account, block) for account in accounts for block in account.blocks]

    async def work(tx: Transaction) -> None:
        await _insert_environment(tx, catalogue, accounts, now)
        for account in accounts:
            await store.insert_account(tx, account.id, account.end_user_id, GENESIS, now)
        await store.insert_blocks(tx, blocks)
        await store.insert_transactions(tx, [grant for _, grants in opened for grant in grants], now)
        await store.update_accounts(tx, accounts)
        await tx.connection.execute(
            "UPDATE accounts SET snapshot_id = $2, subscription_status = $3 WHERE environment_id = $1",
            *(catalogue.environment_id, catalogue.snapshot_id, SUBSCRIPTION_STATUS),
        )

    database = await Database.open(owner_url, "bench", max_size=1)
    try:
        await database.run(catalogue.environment_id, work)
    finally:
        await database.close()


def _open_account(catalogue: Catalogue, end_user_id: str, blocks_each: int, at: int) -> tuple[Account, list[Posting]]:
    account = Account(
        catalogue.environment_id,
        uuid4(),
        end_user_id,
        FIRST_REVISION,
        seq=0,
        total_micro=0,
        debt_micro=0,
        applied_micro=0,
        posted_at=at,
        head_hash=GENESIS,
        snapshot_id=catalogue.snapshot_id,
        subscription_status=SUBSCRIPTION_STATUS,
        blocks=[_block(GRANT_MICRO // blocks_each, at) for _ in range(blocks_each)],
    )
    grants = [
        account.post(
            "grant",
            [(block_account(block.id), block.granted_micro), (f"issued:{SOURCE}", -block.granted_micro)],
            at,
            Origin("bench"),
        )
        for block in account.blocks
    ]
    return account, grants


def _block(amount_micro: int, at: int) -> Block:
    return Block(
        uuid4(),
        amount_micro,
        0,
        paid=False,
        known_revision=FIRST_REVISION,
        effective_at=at,
        expires_at=NEVER_AT,
        granted_at=at,
        source=SOURCE,
        granted_micro=amount_micro,
    )


async def _insert_environment(tx: Transaction, catalogue: Catalogue, accounts: list[Account], now: datetime) -> None:
    tenant_id, environment_id = uuid4(), catalogue.environment_id
    execute = tx.connection.execute
    await execute("INSERT INTO tenants VALUES ($1, 'bench', $2)", tenant_id, now)
    await execute("INSERT INTO environments VALUES ($1, $2, 'sandbox', $3)", environment_id, tenant_id, now)
    await execute(
        "INSERT INTO snapshots VALUES ($1, $2, $3, $4)", environment_id, catalogue.snapshot_id, catalogue.snapshot, now
    )
    await execute(
        "INSERT INTO customers SELECT $1, customer.*, $4 FROM unnest($2::uuid[], $3::text[]) AS customer",
        environment_id,
        [account.id for account in accounts],
        [account.end_user_id for account in accounts],
        now,
    )


async def check_totals(owner_url: str, backlog: Backlog) -> None:
    """Everything that was accepted was taken from the accounts, once, and no event is missing. Raises WrongResult."""
    connection = await asyncpg.connect(owner_url)
    try:
        environment_id = backlog.catalogue.environment_id
        figures = await connection.fetch(
            "SELECT sum(applied_micro), sum(total_micro) FROM accounts WHERE environment_id = $1", environment_id
        )
        events = await connection.fetchval(
            "SELECT count(*) FROM usage_events WHERE environment_id = $1", environment_id
        )
    finally:
        await connection.close()
    cost_micro = backlog.events * COST_MICRO
    found = (events, *figures[0])
    expected = (backlog.events, cost_micro, len(backlog.end_user_ids) * GRANT_MICRO - cost_micro)
    if found != expected:
        raise WrongResult(f"the ledger has (events, applied, total) {found}, not {expected}")


async def check_ledger(owner_url: str, redis_url: str, events: int) -> None:
    """The whole ledger proves, the edge agrees with it, and it has so many events. Raises WrongResult."""
    redis = await RedisStore.connect(redis_url, Agreement())
    try:
        report = await verify(owner_url, redis, None, None)
    finally:
        await redis.close()
    if report.findings:
        raise WrongResult(f"{len(report.findings)} findings of `ledger verify`, the first: {report.findings[0]}")
    if report.counts["events"] != events:
        raise WrongResult(f"the ledger has {report.counts['events']} events, not {events}")
