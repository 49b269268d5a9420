"""The `quotastack` command. Each command imports what it needs when it runs, so that asking for help stays quick."""

# ruff: noqa: PLC0415 - see above
# rich-click types its decorators in part only:
# pyright: reportUnknownMemberType=false

import asyncio
import sys
from collections.abc import Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import UUID

import rich_click as click
from rich.console import Console

from app.settings import OwnerSettings, RunSettings, Secret, SettingsError, all_variables, read
from app.wire.agreement import Agreement

if TYPE_CHECKING:
    from app.doctor.examining import System
    from app.embedded.dev_file import DevStack
    from app.ledger.checkpoints import Checkpoint
    from app.ledger.verify import VerifyReport, Watch

Result = TypeVar("Result")
COULD_NOT_RUN = 2
"""Exit status of the commands that read the ledger, where they could not; 1 says that something is wrong with it."""
_REQUEST_SECONDS = 30
_FILE = click.Path(path_type=Path)


class OperatorSettings(RunSettings, frozen=True, kw_only=True):
    """Of the commands that work on a running system; what is missing is taken from the one on this machine."""

    admin_token: Secret | None = None
    key_pepper: Secret | None = None
    partitions: int = 64
    idempotency_window_seconds: int = 86_400
    stream_max_entries: int = 1_000_000
    spool_directory: str | None = None


def _environment_id(text: str) -> UUID:
    """An environment's id as it is shown elsewhere, or the UUID in it."""
    try:
        return UUID(text.removeprefix("env_"))
    except ValueError:
        raise click.BadParameter("must be 'env_' and 32 hexadecimal digits, or a UUID.") from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quotastack", prog_name="quotastack", message="%(prog)s %(version)s")
def main() -> None:
    """Credits, entitlements, usage metering and subscriptions, exact to the last credit."""


@main.command()
def run() -> None:
    """Start everything on this machine, with Postgres and Valkey unless DATABASE_URL and REDIS_URL name some."""
    from app.embedded.errors import EmbeddedError
    from app.embedded.stack import run_stack

    try:
        run_stack()
    except (EmbeddedError, OSError) as error:
        _fail(str(error))


@main.command("clean-data")
def clean_data() -> None:
    """Forget what the embedded Postgres and Valkey hold. Refused while they run."""
    from app.embedded.errors import EmbeddedError
    from app.embedded.forgetting import forget_data

    try:
        forget_data(Path(read(RunSettings).var_dir))
    except (SettingsError, EmbeddedError, OSError) as error:
        _fail(str(error))


@main.command()
def migrate() -> None:
    """Make the login roles and bring the schema of DATABASE_URL up to date. Safe to run at any time."""
    from app.embedded.environment import DATABASE_ROLES
    from app.io.migrate import MigrationError
    from app.io.migrate import migrate as migrate_database

    try:
        settings = read(OwnerSettings)
        urls = (settings.core_database_url, settings.flusher_database_url, settings.jobs_database_url)
        steps = asyncio.run(
            migrate_database(settings.database_url, dict(zip(DATABASE_ROLES.values(), urls, strict=True)))
        )
    except (SettingsError, MigrationError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"the database cannot be reached: {error}")
    click.echo(f"Ran {', '.join(steps)}." if steps else "Nothing to do.")


@main.command()
@click.option("--json", "is_json", is_flag=True, help="Print the verdicts as JSON and nothing else.")
@click.option("--quiet", is_flag=True, help="Only what is not as it should be.")
def doctor(*, is_json: bool, quiet: bool) -> None:
    """Look at a running system, and say in words what is wrong with it and what to do. It changes nothing.

    Reads DATABASE_URL and REDIS_URL, else the stack on this machine. The exit status is 0 where all is well, 1 where
    something should not go on like that, and 2 where something does not work or could not be looked at.
    """
    from app.doctor.examining import examine, worst_of
    from app.doctor.showing import EXIT_STATUS, diagnoses_json, print_diagnoses

    diagnoses = asyncio.run(examine(_system_to_examine()))
    if is_json:
        click.echo(diagnoses_json(diagnoses), nl=False)
    else:
        print_diagnoses(Console(highlight=False), diagnoses, is_quiet=quiet)
    sys.exit(EXIT_STATUS[worst_of(diagnoses)])


def _system_to_examine() -> "System":
    """What the variables name; without any, the stack on this machine."""
    from app.doctor.examining import System
    from app.doctor.patient import Expected

    settings, local = _operator(COULD_NOT_RUN)
    data = Path(settings.var_dir) / "data"
    expected = Expected(
        settings.durability, settings.stream_max_entries, settings.spool_directory or str(data / "spool"), str(data)
    )
    agreement = Agreement(settings.partitions, settings.idempotency_window_seconds)
    if settings.database_url or local is None:
        here = data if data.is_dir() and not settings.database_url else None
        return System(settings.database_url, settings.redis_url, agreement, expected, all_variables(), here)
    return System(local.database_url, local.redis_url, agreement, expected, all_variables(), data)


@main.group()
def tenants() -> None:
    """Work on tenants."""


@tenants.command("create")
@click.argument("name")
@click.option("--core-url", metavar="URL", help="Base address of core; the one on this machine unless given.")
def create_tenant(name: str, core_url: str | None) -> None:
    """Make a tenant called NAME, with a sandbox and a live environment. Needs ADMIN_TOKEN.

    The two keys are shown once: keep them.
    """
    settings, local = _operator()
    token = settings.admin_token or (local.admin_token if local else None)
    if token is None:
        _fail("ADMIN_TOKEN is not set, and no stack runs on this machine.")
    answer = asyncio.run(_post_tenant(core_url or (local.core_url if local else "http://127.0.0.1:8000"), token, name))
    for member in ("tenant_id", "sandbox_key", "live_key"):
        click.echo(f"{member:<12} {answer[member]}")


@main.group()
def keys() -> None:
    """Work on API keys."""


@keys.command("create")
@click.argument("environment", type=_environment_id)
@click.argument("name")
def create_key(environment: UUID, name: str) -> None:
    """Make a key called NAME that may do everything in ENVIRONMENT: env_… or a UUID.

    It is for a tenant that has lost its own, and shown once. Reads DATABASE_URL and KEY_PEPPER, else those of the stack
    on this machine.
    """
    from app.errors import ServiceError
    from app.io.postgres import DatabaseError
    from app.tenants.rescuing import NoSuchEnvironment, make_key

    settings, local = _operator()
    database_url = settings.database_url or (local.database_url if local else None)
    pepper = settings.key_pepper or (_local_pepper(Path(settings.var_dir)) if local else None)
    if database_url is None or pepper is None:
        _fail("DATABASE_URL or KEY_PEPPER is not set, and no stack runs on this machine.")
    try:
        click.echo(asyncio.run(make_key(database_url, pepper, environment, name)))
    except (NoSuchEnvironment, ValueError, OSError, DatabaseError, ServiceError) as error:
        _fail(str(error))


def _local_pepper(var_dir: Path) -> str:
    from app.embedded.secret_file import load_secrets

    return load_secrets(var_dir, {})["KEY_PEPPER"]


@main.command("replay")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--base-url", metavar="URL", required=True, help="Base address of core, or of the proxy before it.")
@click.option("--key", required=True, help="An API key of the environment to meter in.")
@click.option("--batch-size", type=click.IntRange(1, 1000), default=500, show_default=True, help="Events a request.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many rows, from the first on.")
def replay_trace(file: Path, base_url: str, key: str, batch_size: int, limit: int | None) -> None:
    """Meter FILE, a CSV of model requests, as input and output tokens. Run again, it adds nothing.

    FILE has the columns ContextTokens and GeneratedTokens. Features, plan and customers that are missing are made.
    """
    from app.replay.errors import ReplayError
    from app.replay.replaying import Order, replay

    try:
        summary = asyncio.run(replay(Order(file, base_url, key, batch_size, limit), Console(stderr=True)))
    except ReplayError as error:
        _fail(str(error))
    Console(highlight=False).print(*summary.tables(), sep="\n")


@main.group()
def ledger() -> None:
    """Work on the ledger."""


@ledger.command("verify")
@click.option("--environment", metavar="ID", type=_environment_id, help="Only this environment: env_… or a UUID.")
@click.option("--customer", metavar="END_USER_ID", help="Only this customer.")
@click.option("--checkpoint", type=_FILE, help="What `ledger checkpoint` printed earlier: it has to be here still.")
@click.option("--json", "json_file", metavar="FILE|-", help="Write the report as JSON; - prints it and nothing else.")
@click.option("--quiet", is_flag=True, help="No progress and no counts: only what is wrong.")
def verify_ledger(
    environment: UUID | None, customer: str | None, checkpoint: Path | None, json_file: str | None, *, quiet: bool
) -> None:
    """Derive every total, block, draw and hash chain of the ledger again and report what differs.

    Reads DATABASE_URL and REDIS_URL, else the stack on this machine. The exit status is 0 where nothing differs, 1
    where anything does, and 2 where it could not be verified: an unknown environment or customer, no database.
    """
    from app.ledger.showing import print_report, report_json, show_verifying

    ledger_of = _ledger_stores()
    kept = _read_checkpoints(checkpoint) if checkpoint else []
    with show_verifying(Console(stderr=True, quiet=quiet)) as watch:
        report = _read_ledger(_verify(*ledger_of, environment, customer, kept=kept, watch=watch))
    document = report_json(report, environment, customer)
    if json_file == "-":
        click.echo(document, nl=False)
    else:
        print_report(Console(highlight=False), report, is_quiet=quiet)
    if json_file and json_file != "-":
        _write(Path(json_file), document)
    sys.exit(1 if report.finding_count else 0)


@ledger.command("checkpoint")
@click.option("--environment", metavar="ID", type=_environment_id, help="Only of this environment: env_… or a UUID.")
def show_checkpoint(environment: UUID | None) -> None:
    """Print the newest checkpoint of each environment as JSON, for keeping where nobody who is here can write.

    `ledger verify --checkpoint FILE` compares with it. The exit status is 2 where there is none.
    """
    from app.ledger.checkpoints import show_checkpoints

    found = _read_ledger(_read_latest(_ledger_stores()[0], environment))
    if not found:
        _fail("there is no checkpoint yet: `jobs` takes one a day.", COULD_NOT_RUN)
    click.echo(show_checkpoints(found))


def _ledger_stores() -> tuple[str, str | None, Agreement]:
    """Addresses of Postgres and Redis, and what the data in Redis have to agree with."""
    settings, local = _operator(COULD_NOT_RUN)
    agreement = Agreement(settings.partitions, settings.idempotency_window_seconds)
    if settings.database_url:
        return settings.database_url, settings.redis_url, agreement
    if local is None:
        _fail("DATABASE_URL is not set, and no stack runs on this machine.", COULD_NOT_RUN)
    return local.database_url, local.redis_url, agreement


def _read_ledger(work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` answers; where it cannot, or where it is stopped, one line and the status that says so."""
    from app.errors import ServiceError
    from app.io.postgres import DatabaseError
    from app.io.process import stop_as_interrupted
    from app.io.redis import AgreementMismatch
    from app.ledger.verify import NothingToVerify

    stop_as_interrupted()
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        _fail("stopped before the end.", COULD_NOT_RUN)
    except NothingToVerify as error:
        _fail(f"{error}: nothing was verified.", COULD_NOT_RUN)
    except (OSError, DatabaseError, ServiceError, AgreementMismatch) as error:
        _fail(f"the ledger cannot be read: {error}", COULD_NOT_RUN)


def _read_checkpoints(path: Path) -> "list[Checkpoint]":
    from app.ledger.checkpoints import UnreadableCheckpoints, read_document

    try:
        return read_document(path)
    except (UnreadableCheckpoints, OSError) as error:
        _fail(f"{path} cannot be read: {error}", COULD_NOT_RUN)


def _write(path: Path, document: bytes) -> None:
    try:
        path.write_bytes(document)
    except OSError as error:
        _fail(f"the report cannot be written: {error}", COULD_NOT_RUN)


def _operator(status: int = 1) -> "tuple[OperatorSettings, DevStack | None]":
    """The settings, and the stack that runs on this machine, if one does; `status` is for settings of no use."""
    from app.embedded.dev_file import read_dev_stack

    try:
        settings = read(OperatorSettings)
    except SettingsError as error:
        _fail(str(error), status)
    return settings, read_dev_stack(Path(settings.var_dir))


async def _verify(
    database_url: str,
    redis_url: str | None,
    agreement: Agreement,
    environment: UUID | None,
    customer: str | None,
    *,
    kept: "list[Checkpoint]",
    watch: "Watch",
) -> "VerifyReport":
    from app.io.redis import RedisStore, RedisUnavailable
    from app.ledger.edge_proof import UNREACHABLE
    from app.ledger.verify import verify

    redis = None
    try:
        redis = await RedisStore.connect(redis_url, agreement) if redis_url else None
        unreachable = False
    except RedisUnavailable:
        unreachable = True
    try:
        report = await verify(database_url, redis, environment, customer, kept=kept, watch=watch)
    finally:
        if redis is not None:
            await redis.close()
    if unreachable:
        report.edge = UNREACHABLE
    return report


async def _read_latest(database_url: str, environment: UUID | None) -> "list[Checkpoint]":
    from app.io.postgres import Database
    from app.ledger.checkpoints import read_latest

    database = await Database.open(database_url, "quotastack checkpoint", max_size=1, work_seconds=None)
    try:
        return await read_latest(database, environment)
    finally:
        await database.close()


async def _post_tenant(core_url: str, token: str, name: str) -> dict[str, str]:
    from app.io.outbound import NO_ANSWER, open_session, send

    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with open_session(total_seconds=_REQUEST_SECONDS) as session:
            answer = await send(session, "POST", f"{core_url}/v1/tenants", headers=headers, body={"name": name})
    except NO_ANSWER as error:
        _fail(f"core at {core_url} gave no answer: {error!r}")
    if answer.status != HTTPStatus.CREATED:
        _fail(f"core answered {answer.status}: {answer.body.decode(errors='replace')}")
    return answer.json()


def _fail(reason: str, status: int = 1) -> NoReturn:
    """End the command with one clear line."""
    click.echo(f"quotastack: {reason}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
