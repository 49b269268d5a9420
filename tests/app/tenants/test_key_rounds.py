"""What jobs does for keys: puts right what edges know of them, and writes down when they saw them used."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from app.io.api_keys import list_uses
from app.io.postgres import Database
from app.io.redis import KEY_RECORD_SECONDS, UNKNOWN_KEY_SECONDS
from app.jobs import keys as jobs_keys
from app.jobs.keys import REACH, KeyTeller, UseKeeper
from app.rules.moments import to_at
from app.wire import keys
from app.wire.ids import parse
from app.wire.scopes import Scope
from tests.app.core import Core, Tenant
from tests.app.schema.catalogue import connected
from tests.app.tenants.issuer import NOW, SetClock, load, make, revoke, rotate, told, works
from tests.conftest import DatabaseUrls

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """Postgres as jobs sees it."""
    opened = await Database.open(urls.of("quotastack_jobs"), "jobs", 2)
    yield opened
    await opened.close()


@pytest.fixture
def teller(core: Core, database: Database, clock: SetClock) -> KeyTeller:
    """Of jobs."""
    return KeyTeller(database, core.parts.redis, clock)


async def remember(core: Core, key: str) -> bytes:
    """What Redis holds of a key now, for putting it back later."""
    assert await load(core, key) == "loaded"
    content = await core.parts.redis.client.get(name_of(core, key))
    assert isinstance(content, bytes)
    return content


async def put_back(core: Core, key: str, content: bytes) -> None:
    """Redis holds of a key what it held before, as one does that lost its last writes."""
    await core.parts.redis.client.set(name_of(core, key), content)


def name_of(core: Core, key: str) -> bytes:
    """Where Redis has a key."""
    return keys.api_key(core.parts.api_keys.digest(key))


async def test_redis_that_lost_a_revocation_is_put_right(core: Core, tenant: Tenant, teller: KeyTeller) -> None:
    """Edges ask core again, and are told that there is no such key; keys that did not change are left alone."""
    made, other = await make(tenant, Scope.USAGE_WRITE), await make(tenant, Scope.USAGE_WRITE)
    before, of_other = await remember(core, made["key"]), await remember(core, other["key"])
    await revoke(tenant.sandbox, made["api_key_id"])
    await put_back(core, made["key"], before)
    await teller.round()
    assert await told(core, made["key"]) is None
    assert await core.parts.redis.client.get(name_of(core, other["key"])) == of_other
    assert await load(core, made["key"]) == "unknown"
    await teller.round()
    assert await told(core, made["key"]) == keys.UNKNOWN_KEY


async def test_redis_that_lost_a_rotation_is_put_right(core: Core, tenant: Tenant, teller: KeyTeller) -> None:
    """What it holds of the old key has no end; after the round it has the right one, which stays."""
    made = await make(tenant, Scope.USAGE_WRITE)
    before = await remember(core, made["key"])
    await rotate(tenant.sandbox, made["api_key_id"], overlap_seconds=60)
    right = await core.parts.redis.client.get(name_of(core, made["key"]))
    await teller.round()
    assert await core.parts.redis.client.get(name_of(core, made["key"])) == right
    await put_back(core, made["key"], before)
    await teller.round()
    assert await told(core, made["key"]) is None
    assert await remember(core, made["key"]) == right != before


async def test_all_that_changed_lately_is_looked_through(
    core: Core, tenant: Tenant, teller: KeyTeller, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pages that are, back to the oldest that Redis may hold something of."""
    monkeypatch.setattr(jobs_keys, "PAGE", 2)
    made = [await make(tenant, Scope.USAGE_WRITE) for _ in range(5)]
    before = [await remember(core, one["key"]) for one in made]
    for one in made:
        await revoke(tenant.sandbox, one["api_key_id"])
    clock.at += timedelta(seconds=KEY_RECORD_SECONDS)
    for one, content in zip(made, before, strict=True):
        await put_back(core, one["key"], content)
    await teller.round()
    assert [await told(core, one["key"]) for one in made] == [None] * 5
    looked_at: list[Any] = []

    async def look(_: object, expected: Sequence[Any]) -> int:
        looked_at.extend(expected)
        return 0

    monkeypatch.setattr(jobs_keys, "forget_wrong_records", look)
    clock.at = NOW + REACH + timedelta(seconds=1)
    await teller.round()
    assert not looked_at


async def test_everything_that_redis_holds_of_keys_ends(core: Core, tenant: Tenant) -> None:
    """So that what jobs does not look at any more is not there any more; and there it is that long."""
    made, gone = await make(tenant, Scope.USAGE_WRITE), await make(tenant, Scope.USAGE_WRITE)
    await remember(core, made["key"])
    await rotate(tenant.sandbox, made["api_key_id"])
    await revoke(tenant.sandbox, gone["api_key_id"])
    client = core.parts.redis.client
    assert KEY_RECORD_SECONDS - 60 < await client.ttl(name_of(core, made["key"])) <= KEY_RECORD_SECONDS
    assert 0 < await client.ttl(name_of(core, gone["key"])) <= UNKNOWN_KEY_SECONDS
    assert timedelta(seconds=KEY_RECORD_SECONDS) < REACH


# ---- use


async def note(core: Core, tenant: Tenant, key_id: str, used_at: datetime) -> None:
    """What an edge notes."""
    member = keys.key_use(tenant.environment_id, parse("key", key_id))
    await core.parts.redis.client.zadd(keys.KEY_USES, {member: to_at(used_at)}, gt=True)


async def test_uses_are_written_down(
    core: Core, tenant: Tenant, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, each once, and a later one that is known stays; of a key that there is not, nothing."""
    monkeypatch.setattr(jobs_keys, "PAGE", 2)
    keeper = UseKeeper(database, core.parts.redis)
    made = [(await make(tenant))["api_key_id"] for _ in range(3)]
    for number, key_id in enumerate(made):
        await note(core, tenant, key_id, NOW + number * MINUTE)
    await note(core, tenant, f"key_{7:032x}", NOW)
    assert [await keeper.round() for _ in range(3)] == [2, 2, 0]
    assert not await list_uses(core.parts.redis, 10)
    await note(core, tenant, made[1], NOW)
    assert await keeper.round() == 1
    shown = [(await tenant.sandbox.read(f"/v1/api-keys/{key_id}"))["last_used_at"] for key_id in made]
    assert [datetime.fromisoformat(one) for one in shown] == [NOW, NOW + MINUTE, NOW + 2 * MINUTE]


async def test_a_use_is_not_lost_where_jobs_dies(
    core: Core, tenant: Tenant, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays in Redis until it is written down, and written down twice it is the same."""
    key_id = (await make(tenant))["api_key_id"]
    await note(core, tenant, key_id, NOW)

    class Died(Exception):
        """What a process does."""

    async def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(jobs_keys, "forget_uses", die)
        with pytest.raises(Died):
            await UseKeeper(database, core.parts.redis).round()
    assert len(await list_uses(core.parts.redis, 10)) == 1
    assert await UseKeeper(database, core.parts.redis).round() == 1
    assert await list_uses(core.parts.redis, 10) == []


async def test_jobs_changes_nothing_else_of_a_key(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """Its role may not."""
    made = await make(tenant)
    async with connected(urls.of("quotastack_jobs")) as connection:
        for column in ("expires_at", "revoked_at", "scopes", "digest"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"UPDATE api_keys SET {column} = NULL")  # noqa: S608 - names from above
    assert await works(core, made["key"])
