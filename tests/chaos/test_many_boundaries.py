"""A moment that very many accounts share, such as a month's end: all answer again soon, and none answers wrongly."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from app.io.ids import new_id
from app.io.postgres import Database
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.redis import RedisStore
from app.ledger import store
from app.ledger.book import Account, Origin, Transaction, block_account
from app.rules.burndown import Block
from app.rules.chain import GENESIS
from app.rules.moments import NEVER_AT, to_at
from app.wire import keys
from tests.flow.stack import Stack, Tenant, make_catalogue, open_session, running_stack
from tests.waiting import wait_until_async

ACCOUNTS = 100_000
MOST_SECONDS = 60
AHEAD = timedelta(seconds=45)
"""What making them takes, and then some."""
CREDIT = 1_000_000
ENDING, LASTING = 5 * CREDIT, 1_000 * CREDIT
USERS = 8
PAGE = 5_000


def make_account(template: asyncpg.Record, number: int, at: int, ends_at: int) -> tuple[Account, list[Transaction]]:
    """An account with one block that ends and one that lasts, as core would have granted them."""
    account = Account(
        *(template["environment_id"], new_id(datetime.fromtimestamp(at / 1e6, UTC)), f"many_{number:06}"),
        *(1, 0, 0, 0, 0, at, GENESIS, template["snapshot_id"], template["subscription_status"], []),
    )
    posted: list[Transaction] = []
    for amount, expires_at in ((ENDING, ends_at), (LASTING, NEVER_AT)):
        block = Block(
            new_id(datetime.fromtimestamp(at / 1e6, UTC)),
            amount,
            100,
            paid=False,
            known_revision=1,
            effective_at=at,
            expires_at=expires_at,
            granted_at=at,
            source="promo",
            granted_micro=amount,
        )
        account.blocks.append(block)
        lines = [(block_account(block.id), amount), ("issued:promo", -amount)]
        posted.append(account.post("grant", lines, at, Origin("test")))
    return account, posted


async def insert(stack: Stack, made: list[tuple[Account, list[Transaction]]], now: datetime) -> None:
    """Put them into the ledger, with the product's own statements where it has them for many."""
    database = await Database.open(stack.stores.database_url, "test", 1)
    try:
        for start in range(0, len(made), PAGE):
            page = made[start : start + PAGE]

            async def work(tx: DatabaseTransaction, page: Any = page) -> None:
                rows = [
                    (a.environment_id, a.id, a.end_user_id, now, a.snapshot_id, a.subscription_status) for a, _ in page
                ]
                await tx.connection.executemany(
                    "INSERT INTO customers (environment_id, id, end_user_id, created_at) VALUES ($1, $2, $3, $4)",
                    [row[:4] for row in rows],
                )
                await tx.connection.executemany(
                    "INSERT INTO accounts (environment_id, id, end_user_id, created_at, posted_at, snapshot_id, "
                    "subscription_status, revision, seq, total_micro, debt_micro, applied_micro, head_hash) "
                    "VALUES ($1, $2, $3, $4, $4, $5, $6, 1, 0, 0, 0, 0, decode(repeat('00', 32), 'hex'))",
                    rows,
                )
                await store.insert_blocks(tx, [(account, block) for account, _ in page for block in account.blocks])
                await store.insert_transactions(tx, [one for _, posted in page for one in posted], now)
                await store.update_accounts(tx, [account for account, _ in page])

            await database.run(page[0][0].environment_id, work)
    finally:
        await database.close()


async def load(redis: RedisStore, made: list[tuple[Account, list[Transaction]]], ends_at: int) -> list[bytes]:
    """Put them into Redis as a load does; their names there."""
    names: list[bytes] = []
    for start in range(0, len(made), PAGE):
        pipe = redis.client.pipeline(transaction=False)
        for account, _ in made[start : start + PAGE]:
            ref = keys.account_ref(keys.environment_ref(account.environment_id), account.end_user_id)
            name = keys.account(redis.partition(ref), ref)
            names.append(name)
            figures = {"revision": 1, "base": account.total_micro, "applied": 0, "accepted": 0, "floor": 0, "ticked": 0}
            moments = {"last_id": "0-0", "last_at": account.posted_at, "valid_until": ends_at}
            plan = {"snapshot": account.snapshot_id, "status": account.subscription_status}
            pipe.hset(name, mapping=figures | moments | plan)
        await pipe.execute()
    return names


async def count_waiting(redis: RedisStore, names: list[bytes], ends_at: int) -> int:
    """Accounts that still stand at the boundary."""
    waiting = 0
    for start in range(0, len(names), PAGE):
        pipe = redis.client.pipeline(transaction=False)
        for name in names[start : start + PAGE]:
            pipe.hget(name, "valid_until")
        waiting += sum(int(value) <= ends_at for value in await pipe.execute())
    return waiting


async def spend(tenant: Tenant, seed: int, done: asyncio.Event) -> Counter[tuple[int, str | None]]:
    """Enforced usage of accounts at random, one after the other; how it was answered."""
    random, answers = Random(seed), Counter[tuple[int, str | None]]()
    while not done.is_set():
        body = {"end_user_id": f"many_{random.randrange(ACCOUNTS):06}", "feature_key": "api_calls", "units": 2}
        answer = await tenant.edge.post("/v1/usage", body | {"enforce": True})
        answers[answer.status, answer.body.get("code")] += 1
    return answers


@pytest.mark.timeout(400)
async def test_a_hundred_thousand_accounts_share_a_moment(tmp_path: Path) -> None:
    """Within a minute all answer again; meanwhile nobody is refused for credit that is there, and none overspends."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await make_catalogue(tenant.core)
        await tenant.core.created("/v1/customers", {"end_user_id": "template"})
        owner = await asyncpg.connect(stack.stores.database_url)
        template = await owner.fetchrow("SELECT * FROM accounts WHERE end_user_id = 'template'")
        await owner.close()
        assert template is not None
        now = datetime.now(UTC)
        moment = now + AHEAD
        ends_at = to_at(moment)
        made = [make_account(template, number, to_at(now), ends_at) for number in range(ACCOUNTS)]
        await insert(stack, made, now)
        redis = await stack.redis()
        names = await load(redis, made, ends_at)
        assert datetime.now(UTC) < moment, "making them took too long for this test to say anything"

        done = asyncio.Event()
        spending = [asyncio.create_task(spend(tenant, seed, done)) for seed in range(USERS)]

        async def has_come() -> bool:
            return datetime.now(UTC) > moment

        await wait_until_async(has_come, AHEAD.seconds + 5, "the moment to come")
        started = time.monotonic()

        async def all_answer() -> bool:
            return not await count_waiting(redis, names, ends_at)

        await wait_until_async(all_answer, MOST_SECONDS, f"{ACCOUNTS} accounts to answer again")
        seconds = time.monotonic() - started
        done.set()
        answers = sum(await asyncio.gather(*spending), Counter[tuple[int, str | None]]())
        await redis.close()
        assert answers.keys() <= {(HTTPStatus.ACCEPTED, None), (HTTPStatus.SERVICE_UNAVAILABLE, "account_unavailable")}
        assert answers[HTTPStatus.ACCEPTED, None] > 0
        print(f"{ACCOUNTS} accounts in {seconds:.1f} s; meanwhile {dict(answers)}")  # noqa: T201 - a figure to look at

        async def all_posted() -> bool:
            report = await stack.verify()
            assert report.findings == []
            assert not report.counts["debt_micro"]
            return report.counts["events"] == answers[HTTPStatus.ACCEPTED, None]

        await wait_until_async(all_posted, 120, "everything that was accepted to be posted and proved")
