"""Valkey and Postgres, as `make run` starts them, on data that is thrown away."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from redis import Redis

from app.embedded.postgres import EmbeddedPostgres, start_postgres
from app.embedded.valkey import start_valkey
from app.io.migrate import ROLES, migrate
from app.wire.agreement import Durability


@contextmanager
def running_valkey(directory: Path, durability: Durability = "always") -> Iterator[tuple[str, Any]]:
    """The URL of a server of its own and a client to it; redis-py types little.

    It does not rewrite its log while it runs: a rewrite that falls into one of two runs would be measured with it.
    """
    with start_valkey(directory / "valkey", durability) as server, Redis.from_url(server.url) as client:
        client.config_set("auto-aof-rewrite-percentage", 0)
        yield server.url, client


def log_settings(client: Any) -> str:  # noqa: ANN401 - redis-py types little
    """When Valkey writes to the disk."""
    settings = client.config_get("append*")
    return f"appendonly {settings['appendonly']}, appendfsync {settings['appendfsync']}"


@contextmanager
def running_postgres(directory: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own with the schema and the login roles."""
    with start_postgres(directory / "postgres") as server:
        asyncio.run(migrate(server.url_owner, {role: server.url(role) for role in ROLES}))
        yield server


async def sync_settings(database_url: str) -> str:
    """When Postgres writes to the disk."""
    connection = await asyncpg.connect(database_url)
    try:
        names = ("fsync", "synchronous_commit", "full_page_writes")
        return ", ".join([f"{name} {await connection.fetchval(f'SHOW {name}')}" for name in names])
    finally:
        await connection.close()
