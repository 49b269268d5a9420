"""A Valkey that the tests of scripts have to themselves: they empty it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from app.embedded.valkey import start_valkey


@pytest.fixture(scope="session")
def bare_valkey() -> Iterator[Redis]:
    """A client of an empty server that writes nothing to the disk: what is tested here is what scripts do to keys."""
    with tempfile.TemporaryDirectory() as directory, start_valkey(Path(directory)) as server:
        client = Redis.from_url(server.url, protocol=2)
        client.config_set("appendonly", "no")
        yield client
        client.close()
