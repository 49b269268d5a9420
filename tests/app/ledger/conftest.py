"""The ledger that tests of verify copy."""

import asyncio
from collections.abc import Iterator

import pytest

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import start_valkey
from tests.app.ledger.proved import TEMPLATE, Proved, make_proved
from tests.databases import DatabaseUrls, own_database


@pytest.fixture(scope="session")
def proved(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Proved:
    """Made once, with a Valkey of its own, which is emptied first."""
    with start_valkey(tmp_path_factory.mktemp("valkey-of-proved")) as valkey:
        return asyncio.run(make_proved(postgres, valkey))


@pytest.fixture
def copy(postgres: EmbeddedPostgres, proved: Proved) -> Iterator[DatabaseUrls]:
    """The ledger in a database of the test's own."""
    assert proved
    with own_database(postgres, TEMPLATE) as urls:
        yield urls
