"""The doctor finds nothing where all is well, and each illness by its check, which says what to do."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from app.doctor import machine_checks, postgres_checks
from app.doctor.examining import CHECKS, System, examine, worst_of
from app.doctor.patient import Patient, Verdict
from app.embedded.postgres import SUPERUSER, EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey
from app.io.clock import Clock
from app.jobs.reconcile import Reconciler
from tests.databases import make_database, migrated_template
from tests.flusher.world import open_world
from tests.operations.ailing import ILLNESSES, Illness, Ward, open_jobs

pytestmark = pytest.mark.asyncio(loop_scope="module")
ELSEWHERE = {"postgres-connections", "clocks", "disk"}
"""Checks that have a test of their own below."""
OTHERS = 8
"""Connections of another role, to each of two databases."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ward(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ward]:
    """A system in which all is well: something was used and reserved, and jobs has looked at it."""
    urls = await make_database(postgres, "ward", await migrated_template(postgres))
    async with open_world(urls, valkey) as world:
        await world.customer("u", 100)
        async with world.flusher():
            await world.use("u", "k", 1)
            await world.reserve("u", 1, 5)
            await world.posted(1)
            await world.at_rest("u")
        superuser = await asyncpg.connect(postgres.url(SUPERUSER, "ward"))
        await superuser.execute(
            "UPDATE partition_leases SET lease_until = 'infinity';"
            "INSERT INTO flushers VALUES (gen_random_uuid(), 'infinity');"
            "UPDATE reservations SET expires_at = now() + interval '1 hour'"
        )
        opened = Ward(world, superuser, await open_jobs(world), tmp_path_factory.mktemp("spool"))
        await Reconciler(opened.jobs, world.redis, Clock()).round()
        yield opened
        await opened.jobs.close()
        await superuser.close()


async def verdict(system: System, name: str) -> Verdict:
    """What one check says."""
    [check] = [check for check in CHECKS if check.name == name]
    [diagnosis] = await examine(system, [check])
    return diagnosis.verdict


async def test_all_is_well(ward: Ward) -> None:
    """Every check says so, and has a word for what it saw."""
    diagnoses = await examine(ward.system)
    assert {each.check: each.verdict for each in diagnoses if each.verdict.status != "ok"} == {}
    assert all(each.verdict.seen and not each.verdict.remedy for each in diagnoses)
    assert worst_of(diagnoses) == "ok"


def _illnesses() -> Iterator[Any]:
    for check, ways in ILLNESSES.items():
        for number, way in enumerate(ways):
            yield pytest.param(check, way, id=f"{check}-{number}")


@pytest.mark.parametrize(("check", "way"), [*_illnesses()])
async def test_each_illness_is_found(ward: Ward, check: str, way: Illness) -> None:
    """By its check, with what to do; and once it is over, the check says that all is well."""
    async with way(ward) as system:
        found = await verdict(system, check)
        assert found.status in {"warning", "problem"}, found
        assert found.seen
        assert found.remedy
    assert (await verdict(ward.system, check)).status == "ok"


async def test_every_check_has_its_illness() -> None:
    """None is there that could never speak."""
    assert ILLNESSES.keys() | ELSEWHERE == {check.name for check in CHECKS}
    assert not ILLNESSES.keys() & ELSEWHERE


async def test_without_stores_the_rest_is_looked_at(ward: Ward) -> None:
    """What needs them is unknown, and the status is that of a problem."""
    nowhere = System("postgresql://o@127.0.0.1:1/db", None, ward.system.agreement, ward.system.expected, {})
    diagnoses = {each.check: each.verdict.status for each in await examine(nowhere)}
    assert diagnoses["postgres"] == "problem"
    assert diagnoses["redis"] == "unknown"
    assert {diagnoses[name] for name in ("settings", "spool", "disk")} == {"ok"}
    assert {status for name, status in diagnoses.items() if name not in {"postgres", "settings", "spool", "disk"}} == {
        "unknown"
    }


async def test_few_connections_are_left(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before there are none."""
    monkeypatch.setattr(postgres_checks, "MOST_CONNECTIONS_PERCENT", 1)
    assert (await verdict(ward.system, "postgres-connections")).status == "warning"


async def test_connections_of_every_role_count(ward: Ward, postgres: EmbeddedPostgres) -> None:
    """Those of other roles, and to other databases: the owner sees no more of them than that they are there."""
    async with AsyncExitStack() as others:
        for url in [ward.world.urls["quotastack_jobs"], postgres.url(SUPERUSER, "postgres")] * OTHERS:
            connection = await asyncpg.connect(url)
            others.push_async_callback(connection.close)
        seen = (await verdict(ward.system, "postgres-connections")).seen
    assert int(seen.split()[0]) > 2 * OTHERS


async def test_clocks_that_differ(ward: Ward) -> None:
    """By more than anybody's network takes."""
    [check] = [check for check in CHECKS if check.name == "clocks"]
    for ahead_seconds, status in ((0, "ok"), (2, "warning"), (60, "problem")):
        ahead = timedelta(seconds=ahead_seconds)
        patient = Patient({}, ward.system.expected, lambda ahead=ahead: Clock().now() + ahead, None, ward.world.redis)
        assert (await check.look(patient)).status == status


@pytest.mark.parametrize(("free", "status"), [(50, "ok"), (8, "warning"), (1, "problem")])
async def test_a_disk_that_fills(ward: Ward, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    """Told before it is full."""
    monkeypatch.setattr(machine_checks.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100 - free, free))  # noqa: SLF001 - its own type
    assert (await verdict(ward.system, "disk")).status == status


async def test_nothing_is_changed(ward: Ward) -> None:
    """Neither in Postgres nor in Redis: an agreement that nobody wrote down is not written down by looking."""
    digest = "SELECT sum(xact_commit) FROM pg_stat_database"
    await ward.superuser.fetchval(digest)
    kept = await ward.redis.get("agreement")
    await ward.redis.delete("agreement")
    before = await ward.redis.dbsize()
    assert (await verdict(ward.system, "redis-agreement")).status == "warning"
    assert await ward.redis.dbsize() == before
    await ward.redis.set("agreement", kept)
