"""A ledger that a real flusher posted, to be copied, tampered with and verified."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg
import msgspec

from app.embedded.postgres import SUPERUSER, EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey
from app.io.postgres import Database
from app.ledger import checkpoints
from app.ledger.verify import VerifyReport, verify
from app.wire.reservations import ReservationState
from tests.databases import DatabaseUrls, make_database, migrated_template
from tests.flusher.world import World, open_world
from tests.waiting import wait_until_async

TEMPLATE = "proved"
JOBS = "quotastack_jobs"
KINDS = "SELECT kind FROM ledger_transactions"
FIRST_DAY = datetime(2026, 2, 1, 0, 0, 5, tzinfo=UTC)


class Proved(msgspec.Struct, frozen=True):
    """Who is in the ledger: ada was granted, used, owed, paid and let expire; bob used; eve reserved."""

    environment: UUID
    ada: UUID
    bob: UUID
    event: UUID
    """Ada's first: it drew from her first block, in her transaction 3."""
    block: UUID
    """What that event drew from. It has expired since."""
    eve: UUID
    held: UUID
    """Eve's first reservation: opened by her transaction 2 for 10 credits, committed by 3 with 7."""
    open: UUID
    """Her second: opened by 4 for 5 credits."""


async def make_proved(postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> Proved:
    """The ledger, in the database TEMPLATE, with checkpoints of two days."""
    urls = await make_database(postgres, TEMPLATE, await migrated_template(postgres))
    async with open_world(urls, valkey) as world:
        ada, expires_at = await world.customer("ada", 10), datetime.now(UTC) + timedelta(seconds=3)
        await world.grant(ada, 9, expires_at)
        bob = await world.customer("bob", 100)
        async with world.flusher():
            await _use(world, "ada", {"k1": 3, "k2": 4})
            await _use(world, "bob", {"k3": 1})
            await take_checkpoint(world.urls[JOBS], world.environment_id, FIRST_DAY)
            await wait_until_async(lambda: _is_past(expires_at), 10, "two credits to expire")
            await _use(world, "ada", {"k4": 13})
            await world.grant(ada, 50)
            await world.view("ada")
            await _use(world, "ada", {"k5": 2})
            eve = await world.customer("eve", 20)
            held = await world.reserve("eve", 101, 10)
            await world.end("eve", 101, ReservationState.COMMITTED, 10, used=7)
            await world.posted(6)
            still_open = await world.reserve("eve", 102, 5)
            await world.at_rest("eve")
        kinds = [row["kind"] for row in await world.ledger(f"{KINDS} WHERE account_id = '{ada}' ORDER BY seq")]
        assert kinds == ["grant", "grant", "usage", "usage", "expiry", "usage", "grant", "debt_payment", "usage"]
        await take_checkpoint(world.urls[JOBS], world.environment_id, FIRST_DAY + timedelta(days=1))
        assert (await world.verify()).findings == []
        events = await world.ledger("SELECT id, seq, draws FROM usage_events ORDER BY accepted_at")
        block = UUID(msgspec.json.decode(events[0]["draws"])[0][0])
        return Proved(world.environment_id, ada, bob, events[0]["id"], block, eve, held, still_open)


async def _is_past(moment: datetime) -> bool:
    return datetime.now(UTC) > moment


async def _use(world: World, end_user_id: str, units: dict[str, int]) -> None:
    """Events that are posted one by one, so that each has a transaction of its own."""
    for key, count in units.items():
        before = (await world.ledger("SELECT count(*) AS n FROM usage_events"))[0]["n"]
        await wait_until_async(partial(_is_taken, world, end_user_id, key, count), 10, f"{key} to be accepted")
        await world.posted(before + 1)
    await world.at_rest(end_user_id)


async def _is_taken(world: World, end_user_id: str, key: str, units: int) -> bool:
    """At a boundary the script asks to come again."""
    return (await world.use(end_user_id, key, units))[0] != b"wait"


async def take_checkpoint(jobs_url: str, environment_id: UUID, now: datetime) -> bool:
    """The checkpoint of a day, as jobs takes it."""
    database = await Database.open(jobs_url, "test", 1)
    try:
        return await checkpoints.take(database, environment_id, now)
    finally:
        await database.close()


@asynccontextmanager
async def superuser(postgres: EmbeddedPostgres, urls: DatabaseUrls) -> AsyncIterator[asyncpg.Connection]:
    """Somebody whom nothing holds: foreign keys and the triggers of the tables are off until the end."""
    connection = await asyncpg.connect(postgres.url(SUPERUSER, urls.name))
    guarded = await connection.fetch(
        "SELECT tgrelid::regclass::text AS of FROM pg_trigger WHERE tgname = 'written_once'"
    )
    try:
        await connection.execute("SET session_replication_role = replica")
        for row in guarded:
            await connection.execute(f"ALTER TABLE {row['of']} DISABLE TRIGGER written_once")
        yield connection
        for row in guarded:
            await connection.execute(f"ALTER TABLE {row['of']} ENABLE ALWAYS TRIGGER written_once")
    finally:
        await connection.close()


def verified(urls: DatabaseUrls, kept: Iterable[checkpoints.Checkpoint] = ()) -> VerifyReport:
    """What verify says of the rows alone."""
    return asyncio.run(verify(urls.owner, None, None, None, kept=list(kept)))


def shown(report: VerifyReport) -> list[tuple[int, str]]:
    """Invariant and row of each finding."""
    return [(found.finding.invariant, found.finding.row) for found in report.findings]
