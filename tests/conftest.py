"""Servers that tests share: one Postgres and one Valkey a session, and a copy of a migrated database for each test."""

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from app.embedded.postgres import SUPERUSER, EmbeddedPostgres, start_postgres
from app.embedded.valkey import EmbeddedValkey, start_valkey
from app.io.migrate import ROLES, migrate

_numbers = count()
MEMORY = Path("/dev/shm")  # noqa: S108 - pytest and tempfile make directories of their own in it
"""A directory in memory, on Linux."""
LEAST_MEMORY_BYTES = 4 * 2**30


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/golden tests/isolation --write-golden` keeps what comes out."""
    parser.addoption("--write-golden", action="store_true", help="write the expected files anew from what comes out")


def pytest_configure() -> None:
    """Keep what servers write in memory, unless TMPDIR names another place.

    Processes are killed here, and no power is cut: what a process has written outlives it there as on a disk. A disk
    that others use would stand still for seconds now and then, as no test means it to.
    """
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= LEAST_MEMORY_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_collection_finish() -> None:
    """What was collected stays for ever: looking for garbage in it would make this process stand still."""
    gc.collect()
    gc.freeze()


class DatabaseUrls:
    """The addresses of one database, by role."""

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self._server = server
        self.name = name

    def of(self, role: str) -> str:
        """The address for a role."""
        return self._server.url(role, self.name)

    @property
    def owner(self) -> str:
        """The address for the owner."""
        return self.of("quotastack")

    @property
    def roles(self) -> dict[str, str]:
        """The addresses of the three login roles."""
        return {role: self.of(role) for role in ROLES}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A cluster for the session."""
    with start_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey for the session; environments have ids of their own, so tests do not meet in it."""
    with start_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres) -> str:
    """The name of a database with the whole schema, to be copied."""
    urls = DatabaseUrls(postgres, "quotastack")
    asyncio.run(migrate(urls.owner, urls.roles))
    return urls.name


@pytest.fixture
def empty_urls(postgres: EmbeddedPostgres) -> DatabaseUrls:
    """An empty database of the test's own."""
    return make_database(postgres, "template1")


@pytest.fixture
def urls(postgres: EmbeddedPostgres, migrated: str) -> DatabaseUrls:
    """A migrated database of the test's own."""
    return make_database(postgres, migrated)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the repository."""
    return Path(__file__).resolve().parents[1]


def make_database(server: EmbeddedPostgres, template: str) -> DatabaseUrls:
    """A new database of the owner, as a copy of `template`."""
    name = f"test_{next(_numbers)}"

    async def create() -> None:
        connection = await asyncpg.connect(server.url(SUPERUSER, "postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER quotastack")
        finally:
            await connection.close()

    asyncio.run(create())
    return DatabaseUrls(server, name)
