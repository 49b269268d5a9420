"""Servers that tests share: one Postgres and one Valkey a session, and a copy of a migrated database for each test."""

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.postgres import EmbeddedPostgres, start_postgres
from app.embedded.valkey import EmbeddedValkey, start_valkey
from tests.databases import DatabaseUrls, migrated_template, own_database

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
    return asyncio.run(migrated_template(postgres))


@pytest.fixture
def empty_urls(postgres: EmbeddedPostgres) -> Iterator[DatabaseUrls]:
    """An empty database of the test's own."""
    with own_database(postgres, "template1") as urls:
        yield urls


@pytest.fixture
def urls(postgres: EmbeddedPostgres, migrated: str) -> Iterator[DatabaseUrls]:
    """A migrated database of the test's own."""
    with own_database(postgres, migrated) as urls:
        yield urls


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the repository."""
    return Path(__file__).resolve().parents[1]
