"""Servers for the tests of this folder that need them, and a world of its own for each."""

from collections.abc import AsyncIterator, Iterator

import pytest

from app.embedded.valkey import EmbeddedValkey, start_valkey
from tests.databases import DatabaseUrls
from tests.flusher.world import World, open_world


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey of the test's own, since tests here restart and rewind it."""
    with start_valkey(tmp_path_factory.mktemp("vk")) as server:
        yield server


@pytest.fixture
async def world(urls: DatabaseUrls, valkey: EmbeddedValkey) -> AsyncIterator[World]:
    """A seeded environment without a flusher."""
    async with open_world(urls, valkey) as opened:
        yield opened
