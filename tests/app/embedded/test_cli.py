"""The `quotastack` command: what it does, and what it says when it cannot."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

import app.ledger.verify
from app.cli import COULD_NOT_RUN, main
from app.embedded.environment import DATABASE_ROLES, role_database_url
from app.embedded.locking import FileLock
from app.embedded.postgres import EmbeddedPostgres, start_postgres
from app.io.postgres import Database, Transaction
from app.ledger import checkpoints
from app.ledger.proof import Finding
from app.ledger.verify import FoundAt, VerifyReport
from tests.app.embedded.running_stack import ELSEWHERE, ROOT, StartStack

HEAVY = ("aiohttp", "asyncpg", "litestar", "piccolo", "redis", "uvloop")
USAGE_ERROR = 2
NOWHERE = "postgresql://o@127.0.0.1:1/db"


def quotastack(*arguments: str, **environment: str) -> Result:
    """Run the command with these variables and no others that it reads."""
    unset = dict.fromkeys(("DATABASE_URL", "REDIS_URL", "ADMIN_TOKEN", "VAR_DIR", *DATABASE_ROLES))
    return CliRunner().invoke(main, arguments, env={**unset, **environment})


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """An empty database."""
    with start_postgres(tmp_path_factory.mktemp("data")) as server:
        yield server


def addresses(owner_url: str) -> dict[str, str]:
    """The four variables of the migration."""
    return {"DATABASE_URL": owner_url} | {
        name: role_database_url(owner_url, user, "pw") for name, user in DATABASE_ROLES.items()
    }


def test_asking_for_help_is_quick() -> None:
    """Nothing heavy is imported before a command needs it."""
    script = f"import sys, app.cli; print(*({set(HEAVY)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_making_a_key_where_it_cannot_be_made(tmp_path: Path) -> None:
    """One line that says why."""
    environment = f"env_{7:032x}"
    alone = quotastack("keys", "create", environment, "n", VAR_DIR=str(tmp_path))
    assert (alone.exit_code, "KEY_PEPPER is not set" in alone.output) == (1, True)
    given = {"DATABASE_URL": NOWHERE, "KEY_PEPPER": "p" * 32, "VAR_DIR": str(tmp_path)}
    away = quotastack("keys", "create", environment, "n", **given)
    assert (away.exit_code, away.output.startswith("quotastack: ")) == (1, True)
    assert quotastack("keys", "create", "elsewhere", "n", **given).exit_code == USAGE_ERROR
    nameless = quotastack("keys", "create", environment, "", **given)
    assert (nameless.exit_code, "name" in nameless.output) == (1, True)


def test_migrate_then_verify(postgres: EmbeddedPostgres) -> None:
    """The schema is made once; an empty ledger has nothing wrong with it."""
    variables = addresses(postgres.url_owner)
    first = quotastack("migrate", **variables)
    assert first.exit_code == 0
    assert "0001_tables" in first.output
    assert quotastack("migrate", **variables).output.endswith("Nothing to do.\n")
    verified = quotastack("ledger", "verify", **variables)
    assert verified.exit_code == 0
    assert "Nothing differs." in verified.output


def report_of(findings: int) -> VerifyReport:
    """A report with so many findings, of which the first two were kept."""
    finding = Finding(3, "accounts 1", "has a total of [5], its entries say [7]")
    kept = [FoundAt(UUID(int=7), "user_123", finding)] * min(findings, 2)
    return VerifyReport({"accounts": 1}, kept, finding_count=findings)


def answer_with(monkeypatch: pytest.MonkeyPatch, report: VerifyReport) -> list[tuple[object, ...]]:
    """Have the command get this report; what it asks for."""
    asked: list[tuple[object, ...]] = []

    async def verify(*arguments: object, **_: object) -> VerifyReport:
        asked.append(arguments)
        return report

    monkeypatch.setattr(app.ledger.verify, "verify", verify)
    return asked


@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_findings_are_a_table_and_a_status(monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    """A script sees it by the exit status, a person by the row; what the table leaves out is counted."""
    answer_with(monkeypatch, report_of(7))
    result = quotastack("ledger", "verify", *options, DATABASE_URL="postgresql://nowhere", COLUMNS="200")
    assert result.exit_code == 1
    assert "has a total of [5], its entries say [7]" in result.output
    assert "user_123" in result.output
    assert "And 5 more." in result.output
    assert ("checked" in result.output) == (not options)


def test_quiet_and_clean_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a timer wants it."""
    answer_with(monkeypatch, report_of(0))
    result = quotastack("ledger", "verify", "--quiet", DATABASE_URL="postgresql://nowhere")
    assert (result.exit_code, result.output) == (0, "")


def test_the_report_is_json_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path) -> None:
    """Alone on the output, or in a file beside the tables; its page explains every member."""
    answer_with(monkeypatch, report_of(7))
    printed = quotastack("ledger", "verify", "--json", "-", DATABASE_URL="postgresql://nowhere")
    file = tmp_path / "report.json"
    written = quotastack("ledger", "verify", "--json", str(file), DATABASE_URL="postgresql://nowhere")
    assert (printed.exit_code, written.exit_code) == (1, 1)
    assert file.read_text() == printed.output
    document = json.loads(printed.output)
    assert (document["format"], document["finding_count"], document["findings_left_out"]) == (1, 7, 5)
    assert document["findings"][0] == {
        "invariant": 3,
        "environment_id": str(UUID(int=7)),
        "end_user_id": "user_123",
        "row": "accounts 1",
        "message": "has a total of [5], its entries say [7]",
    }
    page = (repository / "docs/verifying.md").read_text()
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert explained == document.keys() | document["findings"][0].keys()


def test_a_report_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After the tables, with the status of what could not be done."""
    answer_with(monkeypatch, report_of(0))
    result = quotastack("ledger", "verify", "--json", str(tmp_path), DATABASE_URL="postgresql://nowhere")
    assert result.exit_code == COULD_NOT_RUN
    assert "cannot be written" in result.output


def test_a_checkpoint_is_printed_kept_and_compared(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """What is printed today has to be there tomorrow; without one there is nothing to print."""
    variables = addresses(postgres.url_owner)
    assert quotastack("migrate", **variables).exit_code == 0
    none = quotastack("ledger", "checkpoint", **variables)
    assert none.exit_code == COULD_NOT_RUN
    assert "no checkpoint yet" in none.output
    asyncio.run(make_checkpoint(postgres.url_owner))
    printed = quotastack("ledger", "checkpoint", "--environment", str(UUID(int=8)), **variables)
    assert printed.exit_code == 0
    file = tmp_path / "checkpoint.json"
    file.write_text(printed.output)
    verify = ("ledger", "verify", "--environment", str(UUID(int=8)), "--checkpoint", str(file))
    assert quotastack(*verify, **variables).exit_code == 0
    file.write_text(printed.output.replace('"transactions":0', '"transactions":1'))
    assert quotastack(*verify, **variables).exit_code == 1
    file.write_text("{}")
    assert quotastack(*verify, **variables).exit_code == COULD_NOT_RUN


async def make_checkpoint(owner_url: str) -> None:
    """An environment without accounts, and its checkpoint."""
    database, now = await Database.open(owner_url, "test", 1), datetime(2026, 2, 1, tzinfo=UTC)
    try:
        tenant_id, environment_id = UUID(int=9), UUID(int=8)
        for statement, arguments in (
            ("INSERT INTO tenants VALUES ($1, 'acme', $2)", (tenant_id, now)),
            ("INSERT INTO environments VALUES ($1, $2, 'live', $3)", (environment_id, tenant_id, now)),
        ):
            await database.run(None, partial(execute, statement=statement, arguments=arguments))
        assert await checkpoints.take(database, environment_id, now)
    finally:
        await database.close()


async def execute(tx: Transaction, statement: str, arguments: tuple[object, ...]) -> None:
    """One statement."""
    await tx.connection.execute(statement, *arguments)


@pytest.mark.parametrize("chosen", [("--customer", "nobody"), ("--environment", f"env_{UUID(int=7).hex}")])
def test_verifying_nothing_is_no_success(postgres: EmbeddedPostgres, chosen: tuple[str, str]) -> None:
    """Whoever misspelt a name is told, instead of hearing that nothing differs."""
    variables = addresses(postgres.url_owner)
    assert quotastack("migrate", **variables).exit_code == 0
    result = quotastack("ledger", "verify", *chosen, **variables)
    assert result.exit_code == COULD_NOT_RUN
    assert result.output.startswith("quotastack: there is no ")
    assert result.output.endswith(": nothing was verified.\n")


@pytest.mark.parametrize("text", [str(UUID(int=7)), f"env_{UUID(int=7).hex}"])
def test_an_environment_is_named_by_what_is_shown_or_by_its_uuid(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Both reach the ledger as the same UUID."""
    asked = answer_with(monkeypatch, report_of(0))
    result = quotastack("ledger", "verify", "--environment", text, DATABASE_URL="postgresql://nowhere")
    assert result.exit_code == 0
    assert asked == [("postgresql://nowhere", None, UUID(int=7), None)]


def test_what_is_no_environment_is_refused() -> None:
    """Before anything is read."""
    result = quotastack("ledger", "verify", "--environment", "env_7")
    assert result.exit_code == USAGE_ERROR
    assert "hexadecimal" in result.output


def test_data_are_forgotten_only_while_nothing_uses_them(tmp_path: Path) -> None:
    """A run holds the lock; without one the data go, and with no data there is nothing to do."""
    data_dir = tmp_path / "data"
    (data_dir / "pg18").mkdir(parents=True)
    lock = FileLock.try_acquire(tmp_path / "run.lock")
    assert lock is not None
    refused = quotastack("clean-data", VAR_DIR=str(tmp_path))
    assert refused.exit_code == 1
    assert refused.output.endswith("stop `make run` first.\n")
    assert (data_dir / "pg18").is_dir()
    lock.release()
    for _ in range(2):
        assert quotastack("clean-data", VAR_DIR=str(tmp_path)).exit_code == 0
        assert not data_dir.exists()


@pytest.mark.parametrize(
    ("arguments", "variables", "status", "words"),
    [
        (("migrate",), {}, 1, "JOBS_DATABASE_URL is not set"),
        (("migrate",), addresses(NOWHERE), 1, "cannot be reached"),
        (("ledger", "verify"), {}, COULD_NOT_RUN, "DATABASE_URL is not set"),
        (("ledger", "verify"), {"DATABASE_URL": "x"}, COULD_NOT_RUN, "DATABASE_URL"),
        (("ledger", "verify"), {"DATABASE_URL": NOWHERE}, COULD_NOT_RUN, "cannot be read"),
        (("ledger", "verify", "--checkpoint", "nothing"), {"DATABASE_URL": NOWHERE}, COULD_NOT_RUN, "cannot be read"),
        (("ledger", "checkpoint"), {"DATABASE_URL": NOWHERE}, COULD_NOT_RUN, "cannot be read"),
        (("tenants", "create", "a"), {}, 1, "ADMIN_TOKEN is not set"),
        (
            ("tenants", "create", "a", "--core-url", "http://127.0.0.1:1"),
            {"ADMIN_TOKEN": "t" * 32},
            1,
            "gave no answer",
        ),
        (("run",), {"CORE_PORT": "none"}, 1, "CORE_PORT"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], status: int, words: str
) -> None:
    """In words and without a traceback; of what reads the ledger 1 would say that the ledger is wrong."""
    result = quotastack(*arguments, VAR_DIR=str(tmp_path), **variables)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == status
    assert words in result.output
    assert result.output.startswith("quotastack: ")


def test_a_database_without_the_schema_is_said(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As after a restore that was cut short."""
    with start_postgres(tmp_path_factory.mktemp("bare")) as server:
        result = quotastack("ledger", "verify", DATABASE_URL=server.url_owner)
    assert result.exit_code == COULD_NOT_RUN
    assert "does not exist" in result.output


def test_a_tenant_is_made_in_the_running_stack(start_stack: StartStack) -> None:
    """Address and token are those of the stack on this machine, unless others are given."""
    stack = start_stack(**ELSEWHERE)
    made = quotastack("tenants", "create", "acme", VAR_DIR=str(stack.var_dir))
    assert made.exit_code == 0
    assert [line.split() for line in made.output.splitlines()] == [
        ["tenant_id", "ten_2"],
        ["sandbox_key", "qs_test_2"],
        ["live_key", "qs_live_2"],
    ]
    refused = quotastack("tenants", "create", "acme", VAR_DIR=str(stack.var_dir), ADMIN_TOKEN="x" * 32)
    assert refused.exit_code == 1
    assert "core answered 401" in refused.output
