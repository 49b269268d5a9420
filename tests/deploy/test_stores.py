"""The stores of docker-compose.yml: what Valkey is told, and what the owner of the database is and can do."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from app.embedded.postgres import DATABASE, OWNER, SUPERUSER, EmbeddedPostgres, start_postgres
from app.embedded.valkey import valkey_in
from app.io.migrate import ROLES, migrate
from tests.deploy.files import ROOT, command, environment


def options(parts: list[str]) -> dict[str, str]:
    """The settings on a server's command line."""
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_valkey_keeps_what_it_is_told_to(tmp_path: Path) -> None:
    """The settings that the tests and `make run` prove, but for where it listens and keeps its files."""
    ours = options(valkey_in(tmp_path).command())
    for place in ("--port", "--unixsocket", "--unixsocketperm", "--dir"):
        del ours[place]
    theirs = command("valkey")
    assert theirs[0] == "valkey-server"
    assert options(theirs) == ours


@pytest.fixture
def bare_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A cluster as the image has it when it runs its first statements: a superuser and nothing else."""
    with start_postgres(tmp_path) as server:
        yield server


async def execute(server: EmbeddedPostgres, *statements: str) -> None:
    """Run statements as the superuser."""
    connection = await asyncpg.connect(server.url(SUPERUSER, "postgres"))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def run_first_statements(server: EmbeddedPostgres) -> None:
    """As the image does, with the psql that comes with the server."""
    beside = server.binary.file.with_name("psql")
    psql = beside if beside.exists() else shutil.which("psql")
    assert psql, "psql is not installed"
    script = ["--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={ROOT / 'deploy/postgres.sql'}"]
    given = {"OWNER_PASSWORD": environment("postgres")["OWNER_PASSWORD"]}
    subprocess.run([psql, *script, server.url(SUPERUSER, "postgres")], env=given, check=True, timeout=30)


async def test_the_first_statements_make_an_owner_who_can_migrate(bare_postgres: EmbeddedPostgres) -> None:
    """The owner has a password, is no superuser, and brings the schema up by itself."""
    await execute(bare_postgres, f"DROP DATABASE {DATABASE}", f"DROP ROLE {OWNER}")
    run_first_statements(bare_postgres)
    connection = await asyncpg.connect(bare_postgres.url(SUPERUSER))
    owner = await connection.fetchrow(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, left(rolpassword, 13) FROM pg_authid "
        "WHERE rolname = $1",
        OWNER,
    )
    await connection.close()
    assert owner
    assert tuple(owner) == (False, True, False, False, "SCRAM-SHA-256")
    assert await migrate(bare_postgres.url(OWNER), {role: bare_postgres.url(role) for role in ROLES})
