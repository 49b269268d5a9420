"""One running stack with a proxy on every link, for the tests of this folder that leave it as they found it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.faults.links import LinkedStack, linked_stack
from tests.flow.stack import open_session


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LinkedStack]:
    """The stack that all of them share; of the edge one worker, so that a test knows what it knows."""
    async with linked_stack(tmp_path_factory.mktemp("links"), EDGE_WORKERS="1") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def linked(shared: LinkedStack) -> AsyncIterator[LinkedStack]:
    """The shared stack; whatever a test does to a link is over when it ends."""
    yield shared
    await shared.heal()


@pytest_asyncio.fixture(loop_scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session of the test's own."""
    async with open_session() as opened:
        yield opened
