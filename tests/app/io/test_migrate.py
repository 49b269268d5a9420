"""Roles and schema: all of it or nothing, as often as one likes."""

import asyncio

import asyncpg
import pytest

from app.embedded.postgres import EmbeddedPostgres
from app.io import migrate as migrating
from app.io.migrate import ROLES, MigrationError, migrate
from app.io.postgres import known_steps
from tests.conftest import DatabaseUrls


async def fetch(url: str, statement: str) -> list[asyncpg.Record]:
    """Rows of one statement."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def test_each_step_runs_once(empty_urls: DatabaseUrls, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run makes everything, the second nothing, and standard output stays the caller's."""
    assert await migrate(empty_urls.owner, empty_urls.roles) == known_steps()
    assert await migrate(empty_urls.owner, empty_urls.roles) == []
    assert "migration" not in capsys.readouterr().out.replace("migrated", "")


async def test_two_at_once_take_turns(empty_urls: DatabaseUrls) -> None:
    """Whoever comes second finds it done."""
    runs = await asyncio.gather(*(migrate(empty_urls.owner, empty_urls.roles) for _ in range(3)))
    assert sorted(map(len, runs)) == [0, 0, len(known_steps())]


async def test_a_failing_step_leaves_nothing(empty_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tables nor a note that they were made."""
    run_forwards = migrating.run_forwards

    async def run_then_fail(app_name: str) -> None:
        await run_forwards(app_name)
        raise asyncpg.SyntaxOrAccessError

    monkeypatch.setattr(migrating, "run_forwards", run_then_fail)
    with pytest.raises(asyncpg.SyntaxOrAccessError):
        await migrate(empty_urls.owner, empty_urls.roles)
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert await fetch(empty_urls.owner, tables) == []
    monkeypatch.undo()
    assert await migrate(empty_urls.owner, empty_urls.roles) == known_steps()


async def test_passwords_come_from_the_urls(empty_urls: DatabaseUrls, postgres: EmbeddedPostgres) -> None:
    """With whatever characters they have; a URL without one leaves the password as it is."""
    with_password = {role: url.replace("@", ":it%27s%20%24ecret@", 1) for role, url in empty_urls.roles.items()}
    await migrate(empty_urls.owner, with_password)
    await migrate(empty_urls.owner, empty_urls.roles)
    statement = "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%'"
    assert {row["rolname"] for row in await fetch(postgres.url_superuser, statement)} >= set(ROLES)


async def test_roles_have_no_privilege_of_their_own(urls: DatabaseUrls) -> None:
    """They are neither superusers nor beyond row-level security, and make neither roles nor databases."""
    statement = "SELECT * FROM pg_roles WHERE rolname LIKE 'quotastack%'"
    rows = {row["rolname"]: row for row in await fetch(urls.owner, statement)}
    assert set(rows) == {"quotastack", *ROLES}
    for name, row in rows.items():
        assert row["rolcanlogin"]
        assert not row["rolsuper"], name
        assert not row["rolbypassrls"], name
        assert not row["rolcreatedb"], name
    assert [name for name, row in rows.items() if row["rolcreaterole"]] == ["quotastack"]


async def test_the_owner_may_become_each_role(urls: DatabaseUrls) -> None:
    """An operator sees what core sees."""
    connection = await asyncpg.connect(urls.owner)
    for role in ROLES:
        await connection.execute(f"SET ROLE {role}")
        assert await connection.fetchval("SELECT current_user") == role
        await connection.execute("RESET ROLE")
    await connection.close()


async def test_a_url_of_another_role_is_refused(empty_urls: DatabaseUrls) -> None:
    """It would give core the rights of somebody else."""
    with pytest.raises(MigrationError, match="quotastack_core logs in as quotastack"):
        await migrate(empty_urls.owner, {**empty_urls.roles, "quotastack_core": empty_urls.owner})
    two = {role: url for role, url in empty_urls.roles.items() if role != "quotastack_jobs"}
    with pytest.raises(MigrationError, match="no URL is given for quotastack_jobs"):
        await migrate(empty_urls.owner, two)
