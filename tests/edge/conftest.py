"""One edge with two workers, on one Valkey, with one stand-in for core, for all tests that leave them as they are."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.embedded.valkey import EmbeddedValkey, start_valkey
from tests.edge.world import EdgeProcess, StandInCore, Tenant, World


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    """A server that syncs before it answers, as in production."""
    with tempfile.TemporaryDirectory() as directory, start_valkey(Path(directory)) as server:
        yield server


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A server that a test may kill."""
    with tempfile.TemporaryDirectory() as directory, start_valkey(Path(directory)) as server:
        yield server


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """The directory in which the edges of a test spool."""
    return tmp_path / "spool"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_world(valkey: EmbeddedValkey) -> AsyncIterator[World]:
    """The servers, started once."""
    core = StandInCore()
    await core.start()
    redis = Redis.from_url(valkey.url, protocol=2)
    edge = EdgeProcess(valkey.url, core.url, workers=2)
    edge.start()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await edge.ready()
        yield World(redis, core, edge, session)
    await redis.aclose()
    await core.stop()
    assert edge.stop() == 0


@pytest.fixture
def world(shared_world: World) -> World:
    """The servers, with a core that knows nothing yet."""
    shared_world.core.reset()
    return shared_world


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(world: World) -> Tenant:
    """An environment of the test's own, with a key that may check and record."""
    return await world.tenant()
