"""A Postgres that is gone and could not say so: who asks learns it in time, and who asks next is answered."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.embedded.postgres import EmbeddedPostgres
from app.errors import ServiceError
from app.io import postgres as module
from app.io.postgres import Database, Transaction
from app.wire.codes import Code
from tests.faults.proxy import FaultProxy, proxy_to

SECONDS = 0.5


@pytest.fixture
async def proxy(postgres: EmbeddedPostgres) -> AsyncIterator[FaultProxy]:
    """A way to the server that can be cut."""
    async with proxy_to(postgres.socket_directory / postgres.socket_name) as made:
        yield made


@pytest.fixture
async def database(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """Two connections that are given up soon."""
    monkeypatch.setattr(module, "BEGIN_TIMEOUT_SECONDS", SECONDS)
    url = f"postgresql://quotastack@127.0.0.1:{proxy.port}/quotastack?sslmode=disable"
    opened = await Database.open(url, "test", 2, work_seconds=SECONDS)
    yield opened
    await opened.close()


async def ask(tx: Transaction) -> int:
    """Something that is answered at once."""
    return await tx.connection.fetchval("SELECT 7")


@pytest.mark.usefixtures("migrated")
async def test_a_connection_that_died_while_it_was_idle(database: Database, proxy: FaultProxy) -> None:
    """No transaction begins on it: unavailable, and the next transaction has another connection."""
    assert await database.run(None, ask) == 7
    proxy.abandon()
    async with asyncio.timeout(10 * SECONDS):
        with pytest.raises(ServiceError) as raised:
            await database.run(None, ask)
        assert raised.value.code is Code.STORE_UNAVAILABLE
        assert await database.run(None, ask) == 7


@pytest.mark.usefixtures("migrated")
async def test_a_connection_that_dies_inside_a_transaction(database: Database, proxy: FaultProxy) -> None:
    """The work is given up, and so is what would have come after it, ROLLBACK too."""

    async def lose_the_server(tx: Transaction) -> int:
        proxy.abandon()
        return await ask(tx)

    async with asyncio.timeout(10 * SECONDS):
        with pytest.raises(ServiceError) as raised:
            await database.run(None, lose_the_server)
        assert raised.value.code is Code.STORE_UNAVAILABLE
        assert await database.run(None, ask) == 7
