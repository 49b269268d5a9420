"""Several flushers: one that is killed, and one that wakes up after its lease with what is worth nothing."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from app.flusher.loop import LEASE
from tests.faults.customer import Customer
from tests.faults.links import LinkedStack
from tests.flow.stack import Stack
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = 30
TURN_SECONDS = 3.0
"""Between two looks at the leases, with room for a busy machine."""
IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'quotastack flusher' AND wait_event_type = 'Lock' AND query ILIKE '%accounts%'
"""


@asynccontextmanager
async def superuser(linked: LinkedStack) -> AsyncIterator[Any]:
    """A connection that sees everybody's."""
    connection = await asyncpg.connect(linked.stack.postgres.url_superuser)  # type: ignore[attr-defined]
    try:
        yield connection
    finally:
        await connection.close()


async def owners(connection: Any) -> set[Any]:
    """Who holds leases now."""
    return set(await shares(connection))


async def shares(connection: Any) -> Counter[Any]:
    """How many partitions each owner holds now."""
    rows = await connection.fetch("SELECT owner FROM partition_leases WHERE lease_until > clock_timestamp()")
    return Counter(row["owner"] for row in rows)


def start_another(stack: Stack) -> None:
    """A second flusher."""
    if "flusher_2" not in stack.roles:
        stack.add("flusher", "flusher_2")
    stack.start("flusher_2")


async def test_one_of_two_flushers_is_killed(linked: LinkedStack, session: aiohttp.ClientSession) -> None:
    """Each has half of the partitions; within a lease the other has them all, and nothing is posted twice."""
    stack = linked.stack
    customer = await Customer.make(await linked.tenant(session))
    await customer.do_many(customer.use, "alone")
    partitions, started = stack.agreement.partitions, stack.roles["flusher"]
    async with superuser(linked) as looking:
        start_another(stack)

        async def is_shared() -> bool:
            return sorted((await shares(looking)).values()) == [partitions // 2, partitions // 2]

        await wait_until_async(is_shared, SECONDS, "each flusher to have half of the partitions")
        await customer.do_many(customer.use, "shared")
        await stack.kill("flusher_2")

        async def is_taken_over() -> bool:
            return list((await shares(looking)).values()) == [partitions]

        await customer.do_many(customer.use, "after it was killed")
        await wait_until_async(is_taken_over, LEASE.total_seconds() + TURN_SECONDS, "the other to have them all")
    await customer.use("last")
    await customer.prove(stack)
    assert not started.has_ended()


@pytest.mark.parametrize("outcome", ["its transaction is cut off", "its statement waits in vain"])
async def test_a_flusher_that_sleeps_inside_a_transaction(
    linked: LinkedStack, session: aiohttp.ClientSession, outcome: str
) -> None:
    """Stopped between two statements of a batch: another posts it, and the sleeper commits nothing when it wakes up."""
    stack = linked.stack
    customer = await Customer.make(await linked.tenant(session))
    async with superuser(linked) as holding, superuser(linked) as looking:
        sleeper = await owners(looking)
        transaction = holding.transaction()
        await transaction.start()
        await holding.execute("SELECT FROM accounts FOR UPDATE")
        await customer.do_many(customer.use, "before")

        async def waits() -> bool:
            return bool(await looking.fetchval(IN_TRANSACTION))

        await wait_until_async(waits, SECONDS, "the flusher to wait for an account inside its transaction")
        stack.pause("flusher")
        if outcome == "its statement waits in vain":

            async def has_given_up() -> bool:
                return not await waits()

            await wait_until_async(has_given_up, SECONDS, "Postgres to give the lock up for it")
        await transaction.rollback()
        start_another(stack)

        async def is_taken_over() -> bool:
            return bool(await owners(looking) - sleeper)

        await wait_until_async(is_taken_over, SECONDS, "the other flusher to take over")
        await customer.use("meanwhile")
        await customer.prove(stack)
        woken = log_size(stack.roles["flusher"].log_path)
        stack.resume("flusher")

        async def has_noticed() -> bool:
            return log_size(stack.roles["flusher"].log_path) > woken

        await wait_until_async(has_noticed, SECONDS, "the flusher to notice that it has slept")
    await customer.use("after")
    await customer.prove(stack)
    assert not stack.roles["flusher"].has_ended()
    await stack.stop("flusher_2")
    await customer.use("last")
    await customer.prove(stack)


def log_size(path: Path) -> int:
    """How much has been logged."""
    return path.stat().st_size
