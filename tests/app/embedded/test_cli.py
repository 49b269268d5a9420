"""The `quotastack` command: what it does, and what it says when it cannot."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

import app.ledger.verify
from app.cli import main
from app.embedded.environment import DATABASE_ROLES, role_database_url
from app.embedded.locking import FileLock
from app.embedded.postgres import EmbeddedPostgres, start_postgres
from app.ledger.proof import Finding
from app.ledger.verify import FoundAt, VerifyReport
from tests.app.embedded.running_stack import ELSEWHERE, ROOT, StartStack

HEAVY = ("aiohttp", "asyncpg", "litestar", "piccolo", "redis", "uvloop")
USAGE_ERROR = 2


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


def test_findings_are_a_table_and_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script sees it by the exit status, a person by the row."""
    finding = Finding(3, "account", "has a total of [5], its entries say [7]")
    report = VerifyReport({"accounts": 1}, [FoundAt(UUID(int=7), "user_123", finding)])

    async def verify(*_: object) -> VerifyReport:
        return report

    monkeypatch.setattr(app.ledger.verify, "verify", verify)
    result = quotastack("ledger", "verify", DATABASE_URL="postgresql://nowhere", COLUMNS="200")
    assert result.exit_code == 1
    assert "has a total of [5], its entries say [7]" in result.output
    assert "user_123" in result.output


@pytest.mark.parametrize("chosen", [("--customer", "nobody"), ("--environment", f"env_{UUID(int=7).hex}")])
def test_verifying_nothing_is_no_success(postgres: EmbeddedPostgres, chosen: tuple[str, str]) -> None:
    """Whoever misspelt a name is told, instead of hearing that nothing differs."""
    variables = addresses(postgres.url_owner)
    assert quotastack("migrate", **variables).exit_code == 0
    result = quotastack("ledger", "verify", *chosen, **variables)
    assert result.exit_code == 1
    assert result.output == "quotastack: no account matches: nothing was verified.\n"


@pytest.mark.parametrize("text", [str(UUID(int=7)), f"env_{UUID(int=7).hex}"])
def test_an_environment_is_named_by_what_is_shown_or_by_its_uuid(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Both reach the ledger as the same UUID."""
    asked: list[object] = []

    async def verify(_url: str, _redis: None, environment_id: UUID, _end_user_id: None) -> VerifyReport:
        asked.append(environment_id)
        return VerifyReport({"accounts": 1}, [])

    monkeypatch.setattr(app.ledger.verify, "verify", verify)
    result = quotastack("ledger", "verify", "--environment", text, DATABASE_URL="postgresql://nowhere")
    assert result.exit_code == 0
    assert asked == [UUID(int=7)]


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
    ("arguments", "variables", "words"),
    [
        (("migrate",), {}, "JOBS_DATABASE_URL is not set"),
        (("migrate",), addresses("postgresql://o@127.0.0.1:1/db"), "cannot be reached"),
        (("ledger", "verify"), {}, "DATABASE_URL is not set"),
        (("ledger", "verify"), {"DATABASE_URL": "postgresql://o@127.0.0.1:1/db"}, "cannot be read"),
        (("tenants", "create", "a"), {}, "ADMIN_TOKEN is not set"),
        (("tenants", "create", "a", "--core-url", "http://127.0.0.1:1"), {"ADMIN_TOKEN": "t" * 32}, "gave no answer"),
        (("run",), {"CORE_PORT": "none"}, "CORE_PORT"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], words: str
) -> None:
    """In words, with status 1 and without a traceback."""
    result = quotastack(*arguments, VAR_DIR=str(tmp_path), **variables)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert words in result.output
    assert result.output.startswith("quotastack: ")


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
