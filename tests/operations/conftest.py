"""Servers of this folder's own: its tests spoil them on purpose."""

from collections.abc import Iterator

import pytest

from app.embedded.postgres import EmbeddedPostgres, start_postgres
from app.embedded.valkey import EmbeddedValkey, start_valkey


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A cluster for the tests of one file."""
    with start_postgres(tmp_path_factory.mktemp("pg")) as server:
        yield server


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey for the tests of one file."""
    with start_valkey(tmp_path_factory.mktemp("vk")) as server:
        yield server
