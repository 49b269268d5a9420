"""One running stack for the tests of this folder that leave it as they found it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.flow.stack import Stack, Tenant, open_session, running_stack
from tests.ports import free_ports


@pytest.fixture(scope="session")
def stack_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared stack lives."""
    return tmp_path_factory.mktemp("stack")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(stack_directory: Path) -> AsyncIterator[Stack]:
    """Core, edge with two workers, flusher and jobs on servers of their own."""
    ports = dict(zip(("FLUSHER_METRICS_PORT", "JOBS_METRICS_PORT"), map(str, free_ports(2)), strict=True))
    async with running_stack(stack_directory, **ports) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session of the test's own."""
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def tenant(stack: Stack, session: aiohttp.ClientSession) -> Tenant:
    """A tenant of the test's own."""
    return await stack.tenant(session)
