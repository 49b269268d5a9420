"""Core in this process, fresh for each test."""

from collections.abc import AsyncIterator

import pytest

from app.embedded.valkey import EmbeddedValkey
from tests.app.core import Core, Tenant, open_core, open_flusher
from tests.conftest import DatabaseUrls


@pytest.fixture
async def core(urls: DatabaseUrls, valkey: EmbeddedValkey) -> AsyncIterator[Core]:
    """Core on a database of the test's own."""
    async with open_core(urls, valkey.url) as opened:
        yield opened


@pytest.fixture
async def tenant(core: Core) -> Tenant:
    """A tenant of the test's own."""
    return await core.tenant()


@pytest.fixture
async def flusher(core: Core, urls: DatabaseUrls) -> AsyncIterator[None]:
    """A flusher beside core, for what goes through the stream."""
    async with open_flusher(urls, core):
        yield
