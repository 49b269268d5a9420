"""Databases that tests have for themselves: copies of one that was migrated once, gone when they have served."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import asyncpg

from app.embedded.postgres import SUPERUSER, EmbeddedPostgres
from app.io.migrate import ROLES, migrate

_MIGRATED = "migrated"
_numbers = count()


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


@contextmanager
def own_database(server: EmbeddedPostgres, template: str) -> Iterator[DatabaseUrls]:
    """A new database of the owner, as a copy of `template`; it goes when it has served."""
    name = f"test_{next(_numbers)}"
    yield asyncio.run(make_database(server, name, template))
    asyncio.run(_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def make_database(server: EmbeddedPostgres, name: str, template: str) -> DatabaseUrls:
    """A new database of the owner, as a copy of `template`."""
    await _execute(server, f"CREATE DATABASE {name} TEMPLATE {template} OWNER quotastack")
    return DatabaseUrls(server, name)


async def migrated_template(server: EmbeddedPostgres) -> str:
    """The name of a database with the whole schema, to be copied; made where the server has none yet."""
    connection = await asyncpg.connect(server.url(SUPERUSER, "postgres"))
    try:
        if await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", _MIGRATED) is None:
            await connection.execute(f"CREATE DATABASE {_MIGRATED} OWNER quotastack")
            urls = DatabaseUrls(server, _MIGRATED)
            await migrate(urls.owner, urls.roles)
    finally:
        await connection.close()
    return _MIGRATED


async def _execute(server: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(server.url(SUPERUSER, "postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
