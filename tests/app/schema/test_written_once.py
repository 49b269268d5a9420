"""Nothing in the ledger is ever updated or deleted."""

from itertools import product

import asyncpg
import pytest

from app.embedded.postgres import EmbeddedPostgres
from app.io.migrate import ROLES
from tests.app.schema.catalogue import WRITTEN_ONCE, connected
from tests.app.schema.rows import fill
from tests.conftest import DatabaseUrls

CHANGES = ("UPDATE {} SET environment_id = environment_id", "DELETE FROM {}", "TRUNCATE {}")


@pytest.mark.parametrize("role", ["quotastack", *ROLES])
async def test_no_role_has_the_privilege(urls: DatabaseUrls, role: str) -> None:
    """The owner included."""
    async with connected(urls.owner) as connection:
        environment_id = await fill(connection, bytes(32))
    async with connected(urls.of(role), environment_id) as connection:
        for change, table in product(CHANGES, WRITTEN_ONCE):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change.format(table))


async def test_whoever_takes_the_privilege_meets_the_trigger(urls: DatabaseUrls, postgres: EmbeddedPostgres) -> None:
    """The owner after a GRANT, and a superuser, also as a replica."""
    async with connected(urls.owner) as connection:
        await fill(connection, bytes(32))
        await connection.execute(f"GRANT ALL ON {', '.join(WRITTEN_ONCE)} TO CURRENT_USER")
    for url in (urls.owner, postgres.url("postgres", urls.name)):
        async with connected(url) as connection:
            if url != urls.owner:
                await connection.execute("SET session_replication_role = replica")
            for change, table in product(CHANGES, WRITTEN_ONCE):
                with pytest.raises(asyncpg.RestrictViolationError, match="only ever added to"):
                    await connection.execute(change.format(table))
    async with connected(urls.owner) as connection:
        for table in WRITTEN_ONCE:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1  # noqa: S608 - names from this folder
