"""A backup that is taken while everything is at work brings everything back, and nothing is doubled afterwards."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.flow.stack import Stack, drained, open_session, running_stack
from tests.operations.clients import CUSTOMERS, Sender, events, keys_of, posted, subscribe
from tests.operations.recipes import Operator, recipe
from tests.waiting import wait_until_async

EVENTS = 400
BACKUP, RESTORE = "Backups", "Coming back from a backup"
DUMP, FILES = 0, 1
"""The two kinds, in the order in which the page has them."""


@asynccontextmanager
async def lost(
    directory: Path, stack: Stack, session: aiohttp.ClientSession, backup: int = DUMP
) -> AsyncIterator[tuple[Sender, Operator]]:
    """A stack with a backup that was taken under load, and whose Postgres is gone for good while its edge goes on."""
    tenant, operator = await stack.tenant(session), Operator(stack, session, directory)
    await subscribe(tenant)
    sender = Sender(tenant)
    load = asyncio.create_task(sender.send_all(events("load", EVENTS)))

    async def is_under_way() -> bool:
        return len(sender.acknowledged) >= EVENTS // 4

    await wait_until_async(is_under_way, 60, "load")
    await operator.follow(recipe(BACKUP, backup))
    await load
    stack.postgres.stop()
    shutil.rmtree(stack.postgres.directory)
    yield sender, operator
    await sender.send_all([*events("load", EVENTS), *events("meanwhile", 20)])
    for number in range(CUSTOMERS):
        await drained(tenant.core, f"user_{number}")

    async def is_all_there() -> bool:
        return keys_of(await posted(stack)) == {key for _, key, _ in events("load", EVENTS) + events("meanwhile", 20)}

    await wait_until_async(is_all_there, 60, "everything to be posted, once")
    assert (await stack.verify()).findings == []


def steps_of(backup: int) -> list[str]:
    """How to come back from a kind of backup."""
    steps = recipe(RESTORE)
    migrations = [number for number, step in enumerate(steps) if step.endswith("migrate")]
    return steps if backup == DUMP else [*recipe(RESTORE, 1), *steps[migrations[1] :]]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("backup", [DUMP, FILES])
async def test_both_stores_are_lost(tmp_path: Path, backup: int) -> None:
    """The copy is whole and of one moment; what edges spooled and what clients send again is in it once afterwards."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        async with lost(tmp_path, stack, session, backup) as (sender, operator):
            stack.valkey.stop()
            shutil.rmtree(stack.valkey.directory)
            await sender.send_all(events("meanwhile", 20))
            steps = steps_of(backup)
            said = await operator.follow(steps[:-2])
            assert "Nothing differs." in said[-1]
            restored = keys_of(await posted(stack))
            assert restored
            assert restored <= sender.acknowledged
            assert not {key for _, key, _ in events("meanwhile", 20)} & restored
            await operator.follow(steps[-2:-1])
        assert "problem" not in (await operator.follow([*recipe(RESTORE)[-1:]]))[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_postgres_alone_is_lost(tmp_path: Path) -> None:
    """What Valkey has still is posted to the copy: all that was acknowledged is there before anybody sends again."""
    async with (
        running_stack(tmp_path) as stack,
        open_session() as session,
        lost(tmp_path, stack, session) as (sender, operator),
    ):
        await sender.send_all(events("meanwhile", 20))
        await operator.follow(recipe(RESTORE)[:-2])
        steps = recipe(RESTORE, 2)
        await operator.follow(steps[:1])

        async def is_posted() -> bool:
            return sender.acknowledged <= keys_of(await posted(stack))

        await wait_until_async(is_posted, 60, "what Valkey has to be posted")
        await operator.follow(steps[1:])
