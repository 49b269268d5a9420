"""Core with a clock that tests set."""

from collections.abc import AsyncIterator

import pytest

from app.embedded.valkey import EmbeddedValkey
from tests.app.core import Core, open_core
from tests.app.tenants.issuer import SetClock
from tests.conftest import DatabaseUrls


@pytest.fixture
def clock() -> SetClock:
    """The clock of core."""
    return SetClock()


@pytest.fixture
async def core(urls: DatabaseUrls, valkey: EmbeddedValkey, clock: SetClock) -> AsyncIterator[Core]:
    """Core that goes by it."""
    async with open_core(urls, valkey.url, clock) as opened:
        yield opened
