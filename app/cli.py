"""The `quotastack` command. Each command imports what it needs when it runs, so that asking for help stays quick."""

# ruff: noqa: PLC0415 - see above
# rich-click types its decorators in part only:
# pyright: reportUnknownMemberType=false

import asyncio
import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.settings import OwnerSettings, RunSettings, Secret, SettingsError, read
from app.wire.agreement import Agreement

if TYPE_CHECKING:
    from app.embedded.dev_file import DevStack
    from app.ledger.verify import VerifyReport

_REQUEST_SECONDS = 30


class OperatorSettings(RunSettings, frozen=True, kw_only=True):
    """Of the commands that work on a running system; what is missing is taken from the one on this machine."""

    admin_token: Secret | None = None
    partitions: int = 64
    idempotency_window_seconds: int = 86_400


def _environment_id(text: str) -> UUID:
    """An environment's id as it is shown elsewhere, or the UUID in it."""
    try:
        return UUID(text.removeprefix("env_"))
    except ValueError:
        raise click.BadParameter("must be 'env_' and 32 hexadecimal digits, or a UUID.") from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
def verify_ledger(environment: UUID | None, customer: str | None) -> None:
    """Derive every total, block and hash chain of the ledger again and report what differs.

    Reads DATABASE_URL and REDIS_URL, else the stack on this machine. The exit status is 1 when anything differs, and
    when there is no account of the environment or customer that was named.
    """
    from app.errors import ServiceError
    from app.io.redis import AgreementMismatch, RedisUnavailable

    settings, local = _operator()
    if settings.database_url:
        database_url, redis_url = settings.database_url, settings.redis_url
    elif local:
        database_url, redis_url = local.database_url, local.redis_url
    else:
        _fail("DATABASE_URL is not set, and no stack runs on this machine.")
    agreement = Agreement(settings.partitions, settings.idempotency_window_seconds)
    try:
        report = asyncio.run(_verify(database_url, redis_url, agreement, environment, customer))
    except (OSError, ServiceError, RedisUnavailable, AgreementMismatch) as error:
        _fail(f"the ledger cannot be read: {error}")
    if (environment or customer) and not report.counts["accounts"]:
        _fail("no account matches: nothing was verified.")
    _print_report(report)
    sys.exit(1 if report.findings else 0)


def _operator() -> "tuple[OperatorSettings, DevStack | None]":
    """The settings, and the stack that runs on this machine, if one does."""
    from app.embedded.dev_file import read_dev_stack

    try:
        settings = read(OperatorSettings)
    except SettingsError as error:
        _fail(str(error))
    return settings, read_dev_stack(Path(settings.var_dir))


async def _verify(
    database_url: str, redis_url: str | None, agreement: Agreement, environment: UUID | None, customer: str | None
) -> "VerifyReport":
    from app.io.redis import RedisStore
    from app.ledger.verify import verify

    if redis_url is None:
        return await verify(database_url, None, environment, customer)
    redis = await RedisStore.connect(redis_url, agreement)
    try:
        return await verify(database_url, redis, environment, customer)
    finally:
        await redis.close()


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


def _print_report(report: "VerifyReport") -> None:
    console = Console(highlight=False)
    counts = Table("checked", "count")
    for what, count in report.counts.items():
        counts.add_row(what, str(count))
    console.print(counts)
    if not report.findings:
        console.print("Nothing differs.")
        return
    findings = Table("environment", "customer", "invariant", "row", "what is wrong")
    for found in report.findings:
        row = (
            found.environment_id,
            found.end_user_id,
            found.finding.invariant,
            found.finding.row,
            found.finding.message,
        )
        findings.add_row(*(escape(str(cell)) for cell in row))
    console.print(findings)


def _fail(reason: str) -> NoReturn:
    """End the command with one clear line."""
    click.echo(f"quotastack: {reason}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
