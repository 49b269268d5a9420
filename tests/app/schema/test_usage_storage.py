"""Usage events of years: partitions by month, keys for ever, and what a running installation carries over."""
# ruff: noqa: S608 - the names of partitions come from the catalogue

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.embedded.postgres import EmbeddedPostgres
from app.io import migrate as migrating
from app.io.clock import Clock
from app.io.migrate import ROLES, MigrationError, migrate
from app.io.postgres import MIGRATIONS, Database
from app.jobs.partitions import PARTITIONS_AHEAD, PartitionMaker
from tests.app.schema.catalogue import connected, partitions
from tests.app.schema.rows import NOW, fill
from tests.conftest import DatabaseUrls

MONTHS = "SELECT relname FROM pg_class WHERE relispartition AND relname ~ '^usage_events_[0-9]{6}$' ORDER BY relname"
COLUMNS = (
    "environment_id, id, account_id, seq, feature_key, units_micro, cost_micro, debt_micro, draws, price_id, "
    "idempotency_key, properties, occurred_at, accepted_at, recorded_at"
)


async def months(connection: asyncpg.Connection) -> list[str]:
    """The months that have a partition, as YYYYMM."""
    return [row["relname"].removeprefix("usage_events_") for row in await connection.fetch(MONTHS)]


def following(now: datetime, count: int) -> list[str]:
    """The month of `now` and so many after it."""
    return [f"{now.year + (now.month - 1 + n) // 12}{(now.month - 1 + n) % 12 + 1:02}" for n in range(count + 1)]


async def insert(connection: asyncpg.Connection, accepted_at: datetime) -> None:
    """An event, without its key."""
    environment_id, event_id, account_id, price_id = (uuid4() for _ in range(4))
    values = (environment_id, event_id, account_id, 1, "f", 1, 1, 0, "[]", price_id, None, None, *[accepted_at] * 3)
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    await connection.execute(f"INSERT INTO usage_events ({COLUMNS}) VALUES ({places})", *values)


async def test_the_migration_makes_as_many_months_as_jobs_keep(urls: DatabaseUrls) -> None:
    """The present one and those ahead, so that a new installation posts before jobs has run once."""
    async with connected(urls.owner) as connection:
        now = await connection.fetchval("SELECT max(ran_on) FROM migration")
        assert await months(connection) == following(now, PARTITIONS_AHEAD)


async def test_jobs_keep_months_ahead(urls: DatabaseUrls) -> None:
    """Each round makes what is missing, across the year's end too, and a second one nothing."""
    database = await Database.open(urls.of("quotastack_jobs"), "test", 1)
    maker, now = PartitionMaker(database, Clock()), datetime(2030, 11, 30, 23, 59, tzinfo=UTC)
    assert await maker.round(now) == PARTITIONS_AHEAD + 1
    assert await maker.round(now) == 0
    assert await maker.round(now + timedelta(minutes=1)) == 1
    async with connected(urls.owner) as connection:
        made = [month for month in await months(connection) if month >= "2030"]
    assert made == following(now, PARTITIONS_AHEAD + 1) == ["203011", "203012", "203101", "203102", "203103"]
    await database.close()


async def test_two_makers_take_turns(urls: DatabaseUrls) -> None:
    """Jobs and several flushers may want one month at the same moment: one of them makes it, none fails."""
    databases = [await Database.open(urls.of(f"quotastack_{role}"), "test", 4) for role in ("jobs", "flusher")]
    now = datetime(2031, 1, 1, tzinfo=UTC)
    makers = [PartitionMaker(database, Clock()).round(now) for database in databases * 4]
    assert sum(await asyncio.gather(*makers)) == PARTITIONS_AHEAD + 1
    for database in databases:
        await database.close()


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        ("1970-01-01T00:00:00Z", "197001"),
        ("2028-02-29T23:59:59.999999Z", "202802"),
        ("2029-01-01T00:30:00+01:00", "202812"),
        ("2255-06-05T23:47:34.740991Z", "225506"),
    ],
)
async def test_a_month_is_counted_in_utc(urls: DatabaseUrls, moment: str, month: str) -> None:
    """Whatever the time zone of the session is, an event finds the partition that was made for its moment."""
    accepted_at = datetime.fromisoformat(moment)
    async with connected(urls.owner) as connection:
        await connection.execute("SET timezone = 'Pacific/Kiritimati'")
        assert await connection.fetchval("SELECT make_usage_partition($1)", accepted_at)
        await insert(connection, accepted_at)
        assert await connection.fetchval(f"SELECT count(*) FROM usage_events_{month}") == 1


async def test_an_event_of_no_month_is_refused_and_keeps_nobody_from_adding_it(urls: DatabaseUrls) -> None:
    """There is no default partition, which would have to be searched and locked when its month is made."""
    async with connected(urls.owner) as connection:
        moment = datetime(2033, 5, 5, tzinfo=UTC)
        with pytest.raises(asyncpg.CheckViolationError, match="no partition") as caught:
            await insert(connection, moment)
        assert caught.value.constraint_name is None
        await connection.execute("SELECT make_usage_partition($1)", moment)
        await insert(connection, moment)


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "1969-12-31 23:59:59+00", "2256-01-01 00:00:00+00", None])
async def test_no_partition_is_made_outside_of_time(urls: DatabaseUrls, moment: str | None) -> None:
    """So the number of partitions has a bound, whoever asks."""
    async with connected(urls.of("quotastack_jobs")) as connection:
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await connection.fetchval("SELECT make_usage_partition($1::text::timestamptz)", moment)


async def test_making_a_month_waits_for_nobody(urls: DatabaseUrls) -> None:
    """A batch and a reader that are under way neither hold it up nor wait for it."""
    async with connected(urls.owner) as writer, connected(urls.of("quotastack_jobs")) as maker:
        await fill(writer, bytes(32))
        await maker.execute("SET lock_timeout = '2s'")
        async with writer.transaction(), maker.transaction():
            await insert(writer, NOW)
            assert await writer.fetchval("SELECT count(*) FROM usage_events") == 2
            assert await maker.fetchval("SELECT make_usage_partition($1)", datetime(2034, 1, 1, tzinfo=UTC))
            await insert(writer, NOW)
            assert await writer.fetchval("SELECT count(*) FROM usage_events") == 3


async def test_no_partition_is_read_or_changed_by_itself(urls: DatabaseUrls, postgres: EmbeddedPostgres) -> None:
    """No login role is granted one; with a grant core sees what it would see of the whole; nobody changes a row."""
    async with connected(urls.owner) as connection:
        ours, theirs = [await fill(connection, bytes([number]) * 32) for number in (1, 2)]
        names = sorted(await partitions(connection))
        assert len(names) > 8 + PARTITIONS_AHEAD
    for role, name in product(ROLES, names):
        async with connected(urls.of(role), ours) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {name}")
    async with connected(urls.owner) as connection:
        await connection.execute(f"GRANT ALL ON {', '.join(names)} TO CURRENT_USER, quotastack_core")
    for url in (urls.owner, postgres.url("postgres", urls.name)):
        async with connected(url) as connection:
            if url != urls.owner:
                await connection.execute("SET session_replication_role = replica")
            for change, name in product(("UPDATE {} SET seq = 2", "DELETE FROM {}", "TRUNCATE {}"), names):
                with pytest.raises(asyncpg.RestrictViolationError, match="only ever added to"):
                    await connection.execute(change.format(name))
    for environment_id, seen in ((None, set[UUID]()), (ours, {ours}), (theirs, {theirs})):
        async with connected(urls.of("quotastack_core"), environment_id) as connection:
            rows = [row for name in names for row in await connection.fetch(f"SELECT environment_id FROM {name}")]
            assert {row["environment_id"] for row in rows} == seen


async def test_the_function_that_makes_partitions_is_pinned(urls: DatabaseUrls) -> None:
    """It runs as the owner, whatever the caller's search path is; jobs and flusher may call it, core may not."""
    statement = """
        SELECT proname, prosecdef, proconfig, pg_get_function_arguments(oid) AS arguments,
               ARRAY(SELECT role FROM unnest($1::text[]) AS role WHERE has_function_privilege(role, oid, 'EXECUTE')
                     ORDER BY role) AS callers
        FROM pg_proc WHERE proname LIKE '%usage%' AND pronamespace = 'public'::regnamespace ORDER BY proname
    """
    async with connected(urls.owner) as connection:
        rows = {row["proname"]: row for row in await connection.fetch(statement, list(ROLES))}
    assert set(rows) == {"make_usage_partition", "secure_usage_table", "write_usage_table_once"}
    made = rows["make_usage_partition"]
    assert (made["prosecdef"], made["proconfig"]) == (True, ["search_path=public, pg_temp", "TimeZone=UTC"])
    assert made["arguments"] == "moment timestamp with time zone"
    callers = {name: row["callers"] for name, row in rows.items() if row["callers"]}
    assert callers == {"make_usage_partition": ["quotastack_flusher", "quotastack_jobs"]}


async def test_an_event_is_looked_up_in_its_month_alone(urls: DatabaseUrls) -> None:
    """Its key says where it stands; the other months are not opened."""
    async with connected(urls.owner) as connection:
        environment_id = await fill(connection, bytes(32))
        event_id = await connection.fetchval("SELECT id FROM usage_events")
        statement = (MIGRATIONS.parent / "app/ledger/sql/read_event.sql").read_text()
        plan = await connection.fetch(
            "EXPLAIN (ANALYZE, COSTS OFF) "
            + statement.replace("$1", f"'{environment_id}'").replace("$2", f"'{event_id}'")
        )
    scans = [
        line["QUERY PLAN"]
        for line in plan
        if "Scan" in line["QUERY PLAN"] and " on usage_events_" in line["QUERY PLAN"]
    ]
    executed = [scan for scan in scans if "never executed" not in scan]
    assert len(scans) > 1
    assert len(executed) == 1
    assert "usage_events_202601" in executed[0]


async def migrate_to(urls: DatabaseUrls, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring a database up to an older step."""
    run_forwards = migrating.run_forwards
    with monkeypatch.context() as patched:
        patched.setattr(migrating, "run_forwards", lambda app_name: run_forwards(app_name, step))
        await migrate(urls.owner, urls.roles)


async def test_no_flusher_that_knows_no_keys_posts_on(
    empty_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is connected the step is refused, and has changed nothing."""
    await migrate_to(empty_urls, "0002_security", monkeypatch)
    async with connected(empty_urls.of("quotastack_flusher")):
        with pytest.raises(MigrationError, match="of an earlier version is at work"):
            await migrate(empty_urls.owner, empty_urls.roles)
    async with connected(empty_urls.owner) as connection:
        assert await connection.fetchval("SELECT to_regclass('usage_event_keys')") is None


@pytest.mark.parametrize("role", ["quotastack_core", "quotastack_flusher"])
async def test_nobody_who_knows_no_numbers_leaves_word(
    empty_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """While one is connected the outbox stays as it was."""
    await migrate_to(empty_urls, "0021_api_keys", monkeypatch)
    async with connected(empty_urls.of(role)):
        with pytest.raises(MigrationError, match="of an earlier version is at work"):
            await migrate(empty_urls.owner, empty_urls.roles)
    async with connected(empty_urls.owner) as connection:
        assert await connection.fetchval("SELECT to_regclass('outbox_heads')") is None


def old_rows() -> list[tuple[Any, ...]]:
    """Events of two environments around the ends of months and hours, some with all that may be missing."""
    rows: list[tuple[Any, ...]] = []
    second = timedelta(microseconds=1)
    for environment_id, moment, number in product(
        (UUID(int=1), UUID(int=2)),
        (
            datetime(2025, 12, 31, 23, 59, tzinfo=UTC),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2024, 2, 29, tzinfo=UTC),
        ),
        range(6),
    ):
        accepted_at = moment + number * second * 30_000_000
        occurred_at = accepted_at - timedelta(minutes=17 * number)
        texts = ("key", '{"n": 1.50}') if number % 2 else (None, None)
        event = (uuid4(), UUID(int=10 + number % 3), number, "f" if number < 4 else "g")
        amounts = (10**15 - number, 10**15, number, "[]")
        rows.append((environment_id, *event, *amounts, uuid4(), *texts, occurred_at, accepted_at, accepted_at + second))
    return rows


async def test_what_an_installation_has_is_carried_over(
    empty_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event in its month, each with its key, the hours summed, and nothing of the old table left."""
    await migrate_to(empty_urls, "0002_security", monkeypatch)
    rows = old_rows()
    async with connected(empty_urls.owner) as connection:
        places = ", ".join(f"${number}" for number in range(1, 16))
        await connection.executemany(f"INSERT INTO usage_events ({COLUMNS}) VALUES ({places})", rows)
    await migrate_to(empty_urls, "0003_usage_storage", monkeypatch)
    async with connected(empty_urls.owner) as connection:
        found = await connection.fetch(f"SELECT {COLUMNS} FROM usage_events")
        assert sorted(map(tuple, found)) == sorted(rows, key=lambda row: row[:2])
        keys = await connection.fetch("SELECT environment_id, id, account_id, seq, accepted_at FROM usage_event_keys")
        assert sorted(map(tuple, keys)) == sorted((*row[:4], row[13]) for row in rows)
        hours = await connection.fetch("SELECT *, extract(minute FROM hour_at) AS minute FROM usage_hours")
        direct = await connection.fetch(
            "SELECT environment_id, account_id, feature_key, date_trunc('hour', occurred_at, 'UTC'), sum(units_micro), "
            "sum(cost_micro), count(*), 0 FROM usage_events GROUP BY 1, 2, 3, 4"
        )
        assert sorted(map(tuple, hours)) == sorted(map(tuple, direct))
        assert {"202402", "202512", "202601"} <= set(await months(connection))
        assert await connection.fetchval("SELECT to_regclass('usage_events_before')") is None
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute(
                "INSERT INTO usage_event_keys (environment_id, id, account_id, seq, accepted_at) "
                "VALUES ($1, $2, $3, $4, now())",
                *rows[0][:4],
            )
