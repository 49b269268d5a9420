"""Roles and schema. Everything happens in one transaction of the owner: all of it, or nothing."""

from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from urllib.parse import unquote, urlsplit

import asyncpg
import structlog
from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.apps.migrations.commands.forwards import run_forwards

from app.io.postgres import APP_NAME, ENGINE, MIGRATIONS, Connection, Database, Transaction, applied_steps
from app.settings import point_piccolo_at

ROLES = ("quotastack_core", "quotastack_flusher", "quotastack_jobs")
LOCK_KEY = 0x71756F7461  # "quota"
POSTGRES_WITH_MEMBERSHIP_OPTIONS = 16

_log = structlog.get_logger(__name__)


class MigrationError(Exception):
    """The schema could not be brought up to date; nothing was changed."""


async def migrate(owner_url: str, role_urls: Mapping[str, str]) -> list[str]:
    """Make or update the login roles and run what has not run yet; returns the ids of the steps that ran.

    `role_urls` maps each of ROLES to the URL that it logs in with; its password is taken from there (none: the server
    trusts). Safe to call at any time, from several places at once.
    """
    missing = set(ROLES) - set(role_urls)
    if missing:
        message = f"no URL is given for {', '.join(sorted(missing))}"
        raise MigrationError(message)
    database = await Database.open(owner_url, "quotastack migrate", 1, work_seconds=None)
    try:
        return await database.run(None, lambda tx: _migrate(tx, role_urls))
    except asyncpg.ObjectInUseError as error:
        message = f"{error}. {error.hint}"
        raise MigrationError(message) from error
    finally:
        await database.close()


async def _migrate(tx: Transaction, role_urls: Mapping[str, str]) -> list[str]:
    await tx.connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '5min'")
    await tx.connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
    for role in ROLES:
        await _make_role(tx.connection, role, role_urls[role])
    await _grant_temporary_tables(tx.connection)
    before = await applied_steps(tx.connection)
    point_piccolo_at("app.piccolo_conf")
    # Piccolo prints its progress; standard output belongs to the command that called.
    with redirect_stdout(StringIO()):
        result = await run_forwards(APP_NAME)
    if not result.success:
        raise MigrationError(result.message)
    ran = [step for step in await applied_steps(tx.connection) if step not in before]
    _log.info("migrated", steps=ran)
    return ran


async def _grant_temporary_tables(connection: Connection) -> None:
    """The flusher copies events through one. Everybody may make them, unless somebody took that away."""
    statement = "SELECT format('GRANT TEMPORARY ON DATABASE %I TO quotastack_flusher', current_database())"
    await connection.execute(await connection.fetchval(statement))


async def _make_role(connection: Connection, role: str, url: str) -> None:
    parts = urlsplit(url)
    if unquote(parts.username or "") != role:
        message = f"the URL of {role} logs in as {parts.username or 'nobody'}"
        raise MigrationError(message)
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
        await connection.execute(f"CREATE ROLE {role} LOGIN NOINHERIT")
    if parts.password:
        # A utility statement takes no parameters: format() quotes.
        statement = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"
        await connection.execute(await connection.fetchval(statement, role, unquote(parts.password)))
    if connection.get_server_version().major >= POSTGRES_WITH_MEMBERSHIP_OPTIONS:
        await connection.execute(f"GRANT {role} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE")
    else:
        await connection.execute(f"GRANT {role} TO CURRENT_USER")


def sql_migration(migration_id: str, description: str) -> MigrationManager:
    """The Piccolo migration that runs `migrations/sql/<migration_id>.sql`."""
    sql = (MIGRATIONS / "sql" / f"{migration_id}.sql").read_text()

    async def run() -> None:
        await ENGINE.current().connection.execute(sql)

    return MigrationManager(migration_id=migration_id, app_name=APP_NAME, description=description, raw=[run])
