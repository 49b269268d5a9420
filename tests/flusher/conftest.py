"""Servers for the tests of this folder that need them, and a world of its own for each."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from app.embedded.postgres import EmbeddedPostgres, start_postgres
from app.embedded.valkey import EmbeddedValkey, start_valkey
from tests.flusher.world import World, open_world

_numbers = count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One Postgres whose owner may make databases."""
    with start_postgres(tmp_path_factory.mktemp("pg")) as server:
        yield server


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey of the test's own, since tests here restart and rewind it."""
    with start_valkey(tmp_path_factory.mktemp("vk")) as server:
        yield server


@pytest.fixture
async def world(postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> AsyncIterator[World]:
    """A seeded environment without a flusher."""
    async with open_world(postgres, valkey, f"world_{next(_numbers)}") as opened:
        yield opened
