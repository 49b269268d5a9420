"""Jobs lose Postgres while webhooks are sent: each event arrives all the same, in its order, under its one id."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import aiohttp
import asyncpg
import pytest

from loadtests.receiver import Behaviour
from loadtests.receiving import running_receiver
from tests.faults.links import LinkedStack
from tests.faults.proxy import FaultProxy, Way
from tests.flow.webhooks import Webhooks, require_in_order

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEED = 20_261_127
HARMS = 6
SECONDS = 150
"""A connection that died silently is given up after half a minute, and a lease after a minute."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "harm",
    [
        lambda link, _chance: link.cut(),
        lambda link, chance: link.cut_after(Way.TO_CLIENT, chance.randrange(2_000)),
        lambda link, _chance: link.abandon(),
    ],
    ids=["cut", "cut in an answer", "silent"],
)
async def test_jobs_lose_postgres(
    linked: LinkedStack,
    session: aiohttp.ClientSession,
    tmp_path: Path,
    harm: Callable[[FaultProxy, Random], None],
) -> None:
    """Connections end while queues are taken and attempts written down; of some commits nobody hears."""
    chance = Random(SEED)
    connection = await asyncpg.connect(linked.stack.stores.database_url)
    with running_receiver(tmp_path) as receiver:
        webhooks = Webhooks(receiver, connection, await linked.stack.tenant(session))
        await webhooks.listen()
        for _ in range(HARMS):
            webhooks.behave("/flaky", Behaviour(500, times=2))
            await webhooks.happen(chance)
            harm(linked.links["jobs-postgres"], chance)
            await webhooks.happen(chance)
        await webhooks.all_told(SECONDS)
        require_in_order(webhooks.received(), await webhooks.told())
    await connection.close()
