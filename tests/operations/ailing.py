"""A system that is well, and for each check a way to make it ill and well again."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from msgspec.structs import replace

from app.doctor.examining import System
from app.doctor.patient import Expected
from app.io.postgres import Database
from app.wire import keys
from app.wire.agreement import Agreement
from tests.flusher.world import AGREEMENT, World

NOWHERE = "127.0.0.1:1"


class Ward:
    """The system, and a superuser's connection to it."""

    def __init__(self, world: World, superuser: asyncpg.Connection, jobs: Database, directory: Path) -> None:
        self.world, self.superuser, self.jobs, self.directory = world, superuser, jobs, directory
        expected = Expected("always", 1_000_000, str(directory), str(directory))
        self.system = System(world.urls["owner"], world.redis_url, AGREEMENT, expected, {})

    @property
    def redis(self) -> Any:
        """A client of Redis."""
        return self.world.redis.client


async def open_jobs(world: World) -> Database:
    """Connections such as jobs has."""
    return await Database.open(world.urls["quotastack_jobs"], "quotastack jobs", 1)


Illness = Callable[[Ward], AbstractAsyncContextManager[System]]
ILLNESSES: dict[str, list[Illness]] = {}
"""By the check that has to notice."""


def illness(check: str) -> Callable[[Callable[[Ward], AsyncGenerator[System]]], Illness]:
    """Note what makes a check speak."""

    def note(make: Callable[[Ward], AsyncGenerator[System]]) -> Illness:
        managed = asynccontextmanager(make)
        ILLNESSES.setdefault(check, []).append(managed)
        return managed

    return note


def by_statements(check: str, spoil: str, repair: str) -> None:
    """An illness of Postgres that a superuser makes and undoes."""

    async def make(ward: Ward) -> AsyncGenerator[System]:
        await ward.superuser.execute(spoil)
        try:
            yield ward.system
        finally:
            await ward.superuser.execute(repair)

    illness(check)(make)


def by_configuration(check: str, name: str, spoilt: str, well: str) -> None:
    """An illness of Redis' configuration."""

    async def make(ward: Ward) -> AsyncGenerator[System]:
        await ward.redis.config_set(name, spoilt)
        try:
            yield ward.system
        finally:
            await ward.redis.config_set(name, well)

    illness(check)(make)


def by_setting(check: str, change: Callable[[System], System]) -> None:
    """An illness of what the command is told."""

    async def make(ward: Ward) -> AsyncGenerator[System]:
        yield change(ward.system)

    illness(check)(make)


def by_file(check: str, name: str) -> None:
    """A file in the spool's directory."""

    async def make(ward: Ward) -> AsyncGenerator[System]:
        file = ward.directory / name
        file.write_bytes(b"qs-spool-2\n" + bytes(100))
        try:
            yield ward.system
        finally:
            file.unlink()

    illness(check)(make)


NEXT_MONTH = f"usage_events_{(datetime.now(UTC).replace(day=1) + timedelta(days=31)):%Y%m}"
ACCOUNT = "SELECT environment_id, id, {} FROM accounts LIMIT 1"

by_setting("postgres", lambda system: replace(system, database_url=f"postgresql://o@{NOWHERE}/db"))
by_statements(
    "postgres-writes", "ALTER ROLE quotastack SET synchronous_commit = off", "ALTER ROLE quotastack RESET ALL"
)
by_statements(
    "migrations",
    "UPDATE migration SET name = '0029_other' WHERE name = '0029_freezing_ahead'",
    "UPDATE migration SET name = '0029_freezing_ahead' WHERE name = '0029_other'",
)
by_statements(
    "migrations",
    "INSERT INTO migration (app_name, name, ran_on) VALUES ('quotastack', '9999_later', now())",
    "DELETE FROM migration WHERE name = '9999_later'",
)
by_statements("roles", "ALTER ROLE quotastack_core BYPASSRLS", "ALTER ROLE quotastack_core NOBYPASSRLS")
by_statements("roles", "ALTER ROLE quotastack_jobs RENAME TO gone", "ALTER ROLE gone RENAME TO quotastack_jobs")
by_statements(
    "row-security",
    "ALTER TABLE customers NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE customers FORCE ROW LEVEL SECURITY",
)
by_statements(
    "guards",
    "ALTER TABLE ledger_lines DISABLE TRIGGER written_once",
    "ALTER TABLE ledger_lines ENABLE ALWAYS TRIGGER written_once",
)
by_statements("partitions", f"ALTER TABLE {NEXT_MONTH} RENAME TO away", f"ALTER TABLE away RENAME TO {NEXT_MONTH}")
by_statements(
    "api-keys",
    "UPDATE api_keys SET expires_at = now() + interval '1 day', last_used_at = now()",
    "UPDATE api_keys SET expires_at = NULL",
)
by_setting("redis", lambda system: replace(system, redis_url=f"redis://{NOWHERE}"))
by_setting("redis-agreement", lambda system: replace(system, agreement=Agreement(partitions=5)))
by_configuration("redis-persistence", "appendfsync", "everysec", "always")
by_configuration("redis-eviction", "maxmemory-policy", "allkeys-lru", "noeviction")
by_configuration("redis-memory", "maxmemory", "1mb", "0")
by_statements(
    "flusher",
    "UPDATE flushers SET alive_until = '2020-01-01'",
    "UPDATE flushers SET alive_until = 'infinity'",
)
by_statements(
    "flusher",
    "UPDATE partition_leases SET lease_until = '2020-01-01' WHERE partition = 0",
    "UPDATE partition_leases SET lease_until = 'infinity'",
)
by_setting("streams", lambda system: replace(system, expected=replace(system.expected, stream_max_entries=1)))
by_statements(
    "unpublished",
    f"INSERT INTO dirty_accounts (environment_id, account_id, revision) {ACCOUNT.format('revision')}",
    "DELETE FROM dirty_accounts",
)
by_statements(
    "overdue",
    "UPDATE accounts SET valid_until = now() - interval '1 hour'",
    "UPDATE accounts SET valid_until = NULL",
)
by_statements(
    "reservations",
    "UPDATE reservations SET expires_at = now() - interval '1 hour'",
    "UPDATE reservations SET expires_at = now() + interval '1 hour'",
)
by_statements(
    "drift",
    "INSERT INTO drifting_accounts (environment_id, account_id, findings, found_at) "
    + ACCOUNT.format("'42: the edge has other figures', now()"),
    "DELETE FROM drifting_accounts",
)
by_statements(
    "drift",
    "UPDATE reconciliation SET began_at = '2020-01-01', ended_at = '2020-01-01'",
    "UPDATE reconciliation SET ended_at = now()",
)
by_statements(
    "checkpoints",
    "UPDATE environments SET created_at = now() - interval '9 days'",
    "UPDATE environments SET created_at = now()",
)
by_statements(
    "rejected",
    "INSERT INTO rejected_events (environment_id, id, end_user_id, stream_id, code, detail, entry, recorded_at) "
    "SELECT environment_id, gen_random_uuid(), 'u', '1-1', 'unknown_feature', '', '', now() FROM accounts LIMIT 1",
    "DELETE FROM rejected_events",
)
by_statements(
    "events",
    "INSERT INTO outbox (environment_id, id, type, end_user_id, data, created_at, sequence) SELECT environment_id, "
    "gen_random_uuid(), 'customer.created', 'u', '{}', now() - interval '1 hour', 1 FROM accounts LIMIT 1",
    "DELETE FROM outbox",
)
FORGET = "DELETE FROM webhook_queues; DELETE FROM webhook_endpoints"
ENDPOINT = """
    INSERT INTO webhook_endpoints (environment_id, id, url, description, enabled, failing_since, secret_version,
                                   created_at, updated_at)
    SELECT environment_id, id, 'https://example.com', '', true, {failing_since}, 1, now(), now() FROM accounts LIMIT 1;
"""
QUEUE = """
    INSERT INTO webhook_queues (environment_id, endpoint_id, end_user_id, waiting, due_at)
    SELECT environment_id, id, 'u', 1, now() - interval '1 hour' FROM webhook_endpoints
"""
by_statements("webhooks", ENDPOINT.format(failing_since="NULL") + QUEUE, FORGET)
by_statements("webhooks", ENDPOINT.format(failing_since="now() - interval '1 hour'"), FORGET)
by_setting("settings", lambda system: replace(system, environ={"PARTITIONS": "many"}))
by_setting("settings", lambda system: replace(system, environ={"CORE_DATABASE_URL": "postgresql://quotastack@h/db"}))
by_file("spool", "1-1.spool")
by_file("spool", "1-1.damaged")


@illness("roles")
async def core_as_owner(ward: Ward) -> AsyncGenerator[System]:
    """A core that logs in as the owner, who sees every environment."""
    settings = {"application_name": "quotastack core"}
    connection = await asyncpg.connect(ward.world.urls["owner"], server_settings=settings)
    try:
        yield ward.system
    finally:
        await connection.close()


@illness("flush-lag")
async def entry_that_waits(ward: Ward) -> AsyncGenerator[System]:
    """An entry that nobody reads, as old as can be."""
    used = ward.world.redis.partition(ward.world.ref("u"))
    stream = keys.stream((used + 1) % AGREEMENT.partitions)
    await ward.redis.xadd(stream, {"a": b"x"}, id="1-1")
    try:
        yield ward.system
    finally:
        await ward.redis.delete(stream)


@illness("jobs")
async def nobody_runs_jobs(ward: Ward) -> AsyncGenerator[System]:
    """Its session is gone."""
    await ward.jobs.close()
    try:
        yield ward.system
    finally:
        ward.jobs = await open_jobs(ward.world)
