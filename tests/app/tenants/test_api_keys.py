"""Keys that tenants make, rotate and revoke: what they may do, when they end, and what edges are told of it."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as Unreachable

from app.tenants import store
from app.tenants.issuing import MAX_LIVE_KEYS, locks_out
from app.tenants.store import KeyRow
from app.wire import keys
from app.wire.codes import Code
from app.wire.ids import parse
from app.wire.scopes import Scope, allows, lacking
from app.wire.snapshot import ApiKeyRecord
from tests.app.core import Core, Tenant
from tests.app.schema.catalogue import connected
from tests.app.tenants.issuer import (
    DAY,
    KEYS,
    NOBODY,
    NOW,
    SetClock,
    load,
    make,
    own_id,
    patch,
    revoke,
    rotate,
    told,
    works,
)
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

# ---- making


async def test_a_key_is_made_and_shown_once(core: Core, tenant: Tenant) -> None:
    """With what was asked for; afterwards everything but the key itself can be read."""
    expires_at = NOW + DAY
    made = await make(tenant, Scope.USAGE_WRITE, Scope.ENTITLEMENTS_READ, expires_at=expires_at.isoformat())
    key = made.pop("key")
    assert key.startswith("qs_test_")
    assert made["display_prefix"] == key[:12]
    assert made["scopes"] == ["usage:write", "entitlements:read"]
    assert made["created_by"] == await own_id(tenant)
    assert datetime.fromisoformat(made["created_at"]) == NOW
    assert datetime.fromisoformat(made["expires_at"]) == expires_at
    assert (made["name"], made["revoked_at"], made["last_used_at"]) == ("n", None, None)
    assert await tenant.sandbox.read(f"{KEYS}/{made['api_key_id']}") == made
    assert (await tenant.sandbox.read(KEYS))["data"][-1] == made
    principal = await core.parts.api_keys.authenticate(key, "192.0.2.1")
    assert principal is not None
    assert (principal.environment_id, principal.scopes) == (tenant.environment_id, set(made["scopes"]))


async def test_a_live_key_makes_live_keys(tenant: Tenant) -> None:
    """A key is of the environment of the key that made it, and no other environment sees it."""
    made = await tenant.live.made(KEYS, {"name": "n"})
    assert made["key"].startswith("qs_live_")
    assert made["scopes"] == []
    path = f"{KEYS}/{made['api_key_id']}"
    assert_problem(await tenant.sandbox.get(path), Code.NOT_FOUND)
    assert_problem(await patch(tenant.sandbox, made["api_key_id"], "x"), Code.NOT_FOUND)
    assert_problem(await revoke(tenant.sandbox, made["api_key_id"]), Code.NOT_FOUND)
    assert_problem(await rotate(tenant.sandbox, made["api_key_id"]), Code.NOT_FOUND)


async def test_keys_come_in_pages(tenant: Tenant) -> None:
    """In the order in which they were made, beginning with the one that came with the tenant."""
    made = [await make(tenant) for _ in range(3)]
    listed: list[Any] = []
    page: Any = {"next_cursor": None}
    while not listed or page["next_cursor"]:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = await tenant.sandbox.read(KEYS, limit=2, **cursor)
        listed += page["data"]
    assert [one["api_key_id"] for one in listed[1:]] == [one["api_key_id"] for one in made]
    assert (listed[0]["name"], listed[0]["created_by"], listed[0]["scopes"]) == ("First key", "operator", list(Scope))
    assert all("key" not in one and "digest" not in one for one in listed)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, Code.INVALID_BODY, "name"),
        ({"name": ""}, Code.INVALID_VALUE, "name"),
        ({"name": "n", "scopes": ["all"]}, Code.INVALID_VALUE, "scopes[0]"),
        ({"name": "n", "scopes": ["admin"] * 9}, Code.INVALID_VALUE, "scopes"),
        ({"name": "n", "expires_at": NOW.isoformat()}, Code.INVALID_VALUE, "expires_at"),
        ({"name": "n", "expires_at": "2026-03-02"}, Code.INVALID_VALUE, "expires_at"),
        ({"name": "n", "key": "qs_test_"}, Code.UNKNOWN_FIELD, "key"),
    ],
)
async def test_what_is_no_request_for_a_key(tenant: Tenant, body: Any, code: Code, field: str) -> None:
    """Refused by name."""
    assert_problem(await tenant.sandbox.post(KEYS, body), code, field)


async def test_ids_of_keys_have_a_form(tenant: Tenant) -> None:
    """Something else is refused by name, and what has the form is looked for."""
    assert_problem(await tenant.sandbox.get(f"{KEYS}/k"), Code.INVALID_VALUE, "api_key_id")
    assert_problem(await tenant.sandbox.get(f"{KEYS}/{NOBODY}"), Code.NOT_FOUND)


async def test_nobody_hands_on_what_they_may_not_do(core: Core, tenant: Tenant) -> None:
    """Neither by making a key nor by rotating one; with admin everything is one's own."""
    maker = core.client((await make(tenant, Scope.KEYS_WRITE, Scope.USAGE_WRITE))["key"])
    strong = (await make(tenant, Scope.ADMIN))["api_key_id"]
    await maker.made(KEYS, {"name": "n", "scopes": ["usage:write", "keys:write"]})
    for scope in set(Scope) - {Scope.KEYS_WRITE, Scope.USAGE_WRITE}:
        answer = await maker.post(KEYS, {"name": "n", "scopes": ["usage:write", scope]})
        assert_problem(answer, Code.MISSING_SCOPE)
        assert scope in answer.json()["detail"]
    assert_problem(await rotate(maker, strong), Code.MISSING_SCOPE)
    admin = core.client((await make(tenant, Scope.ADMIN))["key"])
    await admin.made(KEYS, {"name": "n", "scopes": list(Scope)})


@given(st.frozensets(st.sampled_from(Scope)), st.frozensets(st.sampled_from(Scope)))
def test_what_is_handed_on_adds_nothing(own: frozenset[Scope], wanted: frozenset[Scope]) -> None:
    """A key that may be made may do nothing that its maker may not, and one that may not be could do more."""
    adds = any(allows(frozenset(wanted), scope) and not allows(frozenset(own), scope) for scope in Scope)
    assert bool(lacking(frozenset(own), wanted)) == adds


async def test_live_keys_have_a_bound(tenant: Tenant, urls: DatabaseUrls, clock: SetClock) -> None:
    """A hundred that are valid at once; twins do not go beyond, rotation does, and what has ended does not count."""
    async with connected(urls.owner) as connection:
        statement = """
            INSERT INTO api_keys (environment_id, id, digest, display_prefix, scopes, created_at, expires_at)
            SELECT $1, gen_random_uuid(), sha256(number::text::bytea), 'x', '{}', $2, $3
            FROM generate_series(1, $4::integer) number
        """
        row = (tenant.environment_id, NOW, NOW + DAY)
        await connection.execute(statement, *row, MAX_LIVE_KEYS - 3)
    body = {"name": "n"}
    answers = await asyncio.gather(*(tenant.sandbox.post(KEYS, body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [409] * 6
    made = [answer.json() for answer in answers if answer.status_code == 201]
    assert_problem(await tenant.sandbox.post(KEYS, body), Code.TOO_MANY_API_KEYS)
    assert (await rotate(tenant.sandbox, made[0]["api_key_id"])).status_code == 201
    await revoke(tenant.sandbox, made[1]["api_key_id"])
    assert_problem(await tenant.sandbox.post(KEYS, body), Code.TOO_MANY_API_KEYS)
    clock.at += DAY
    assert (await tenant.sandbox.post(KEYS, body)).status_code == 201


async def test_a_key_that_was_shown_is_stored_nowhere(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """A replay answers null in its place; neither the stored answer nor the audit log has it."""
    body = {"name": "n", "scopes": ["usage:write"]}
    made = await tenant.sandbox.post(KEYS, body, key="k")
    again = await tenant.sandbox.post(KEYS, body, key="k")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == made.json() | {"key": None}
    path = f"{KEYS}/{made.json()['api_key_id']}/rotate"
    rotated = await tenant.sandbox.post(path, {}, key="k")
    again = await tenant.sandbox.post(path, {}, key="k")
    assert again.json() == rotated.json() | {"api_key": rotated.json()["api_key"] | {"key": None}}
    async with connected(urls.owner) as connection:
        rows = [
            row["row"]
            for table in ("api_keys", "idempotency_keys", "audit_log")
            for row in await connection.fetch(f"SELECT t::text AS row FROM {table} t")  # noqa: S608 - names from above
        ]
        bodies = await connection.fetch("SELECT body FROM idempotency_keys")
    stored = "\n".join(rows) + "\n".join(row["body"].decode() for row in bodies)
    assert made.json()["display_prefix"] in stored
    for key in (made.json()["key"], rotated.json()["api_key"]["key"], tenant.sandbox.key):
        assert key not in stored
        assert key.encode().hex() not in stored
    assert core


async def test_changes_of_keys_are_in_the_audit_log(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Each by the key that it is about, with what it was before."""
    made = await make(tenant, Scope.USAGE_WRITE)
    await patch(tenant.sandbox, made["api_key_id"], "other")
    rotated = (await rotate(tenant.sandbox, made["api_key_id"])).json()
    await revoke(tenant.sandbox, made["api_key_id"])
    async with connected(urls.owner) as connection:
        rows = await connection.fetch(
            "SELECT subject_id, request::text, before::text, after::text FROM audit_log "
            "WHERE subject_kind = 'api_key' ORDER BY id"
        )
    assert [row["subject_id"] for row in rows] == [
        made["api_key_id"],
        made["api_key_id"],
        rotated["api_key"]["api_key_id"],
        made["api_key_id"],
        made["api_key_id"],
    ]
    assert [row["before"] is None for row in rows] == [True, False, True, False, False]
    assert '"name": "other"' in rows[1]["after"] or '"name":"other"' in rows[1]["after"]
    asked = msgspec.json.decode(rows[-1]["request"])
    assert asked == {"path": {"api_key_id": made["api_key_id"]}, "query": {"force": False}, "body": {}}


async def test_a_key_can_be_renamed(tenant: Tenant) -> None:
    """And nothing else of it changes."""
    made = await make(tenant, Scope.USAGE_WRITE)
    del made["key"]
    answer = await patch(tenant.sandbox, made["api_key_id"], "other")
    assert answer.json() == made | {"name": "other"}
    assert await tenant.sandbox.read(f"{KEYS}/{made['api_key_id']}") == made | {"name": "other"}


# ---- ending


async def test_a_revoked_key_is_refused_at_once(core: Core, tenant: Tenant, clock: SetClock) -> None:
    """Core refuses it, edges are told before the answer leaves, and a load does not bring it back."""
    made = await make(tenant, Scope.USAGE_WRITE)
    assert await load(core, made["key"]) == "loaded"
    assert isinstance(await told(core, made["key"]), ApiKeyRecord)
    answer = await revoke(tenant.sandbox, made["api_key_id"])
    assert (answer.status_code, answer.json()["edges_told"]) == (200, True)
    assert await told(core, made["key"]) == keys.UNKNOWN_KEY
    assert not await works(core, made["key"])
    assert await load(core, made["key"]) == "unknown"
    clock.at += DAY
    again = await revoke(tenant.sandbox, made["api_key_id"])
    assert again.content == answer.content
    assert datetime.fromisoformat(answer.json()["revoked_at"]) == NOW


async def test_what_was_read_before_a_revocation_does_not_undo_it(core: Core, tenant: Tenant) -> None:
    """A load that found the key and comes late finds that edges were told of its end."""
    made = await make(tenant, Scope.USAGE_WRITE)
    await load(core, made["key"])
    record = await told(core, made["key"])
    await revoke(tenant.sandbox, made["api_key_id"])
    digest = core.parts.api_keys.digest(made["key"])
    await core.parts.redis.put_api_key(digest, msgspec.json.encode(record), replaces=False)
    assert await told(core, made["key"]) == keys.UNKNOWN_KEY


async def test_edges_are_told_before_the_revocation_commits(
    core: Core, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where core dies in between, they refuse what is valid still, for a minute; never the other way about."""
    made = await make(tenant, Scope.USAGE_WRITE)
    await load(core, made["key"])

    class Died(Exception):
        """What a process does."""

    tell = core.parts.api_keys.tell_edges

    async def die(*arguments: Any) -> bool:
        await tell(*arguments)
        raise Died

    monkeypatch.setattr(core.parts.api_keys, "tell_edges", die)
    assert (await revoke(tenant.sandbox, made["api_key_id"])).status_code == 500
    assert await told(core, made["key"]) == keys.UNKNOWN_KEY
    assert await works(core, made["key"])
    name = keys.api_key(core.parts.api_keys.digest(made["key"]))
    assert 0 < await core.parts.redis.client.ttl(name) <= 60


async def test_a_key_is_revoked_while_redis_is_away(
    core: Core, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is revoked all the same, and the answer says that edges do not know of it yet."""
    made = await make(tenant, Scope.USAGE_WRITE)

    async def fail(*_: Any, **__: Any) -> None:
        raise Unreachable("gone")

    monkeypatch.setattr(core.parts.redis, "put_api_key", fail)
    answer = await revoke(tenant.sandbox, made["api_key_id"])
    assert (answer.status_code, answer.json()["edges_told"]) == (200, False)
    assert not await works(core, made["key"])
    rotated = await rotate(tenant.sandbox, (await make(tenant))["api_key_id"])
    assert (rotated.status_code, rotated.json()["edges_told"]) == (201, False)


async def test_a_key_may_revoke_itself(core: Core, tenant: Tenant) -> None:
    """Its answer is its last."""
    made = await make(tenant, Scope.KEYS_WRITE)
    client = core.client(made["key"])
    assert (await revoke(client, made["api_key_id"])).status_code == 200
    assert_problem(await client.get(KEYS), Code.UNAUTHENTICATED)


async def test_the_last_key_that_makes_keys_is_not_revoked_by_mistake(core: Core, tenant: Tenant) -> None:
    """Nor where the others end sooner; forced, it is."""
    first = await own_id(tenant)
    assert_problem(await revoke(tenant.sandbox, first), Code.LAST_API_KEY)
    await make(tenant, Scope.USAGE_WRITE)
    await make(tenant, Scope.KEYS_WRITE, expires_at=(NOW + DAY).isoformat())
    assert_problem(await revoke(tenant.sandbox, first), Code.LAST_API_KEY)
    rotated = (await rotate(tenant.sandbox, first)).json()
    successor = core.client(rotated["api_key"]["key"])
    assert_problem(await revoke(successor, rotated["api_key"]["api_key_id"]), Code.LAST_API_KEY)
    assert (await revoke(successor, first)).status_code == 200
    assert (await revoke(successor, rotated["api_key"]["api_key_id"], force="true")).status_code == 200
    assert not await works(core, successor.key)


def _keys(given_ends: Iterable[tuple[bool, int | None]]) -> list[KeyRow]:
    scopes = {True: (Scope.KEYS_WRITE.value,), False: (Scope.USAGE_WRITE.value,)}
    return [
        KeyRow(
            *(uuid4(), b"", "", "", scopes[makes_keys], NOW, "operator"),
            expires_at=None if days is None else NOW + days * DAY,
        )
        for makes_keys, days in given_ends
    ]


@given(st.lists(st.tuples(st.booleans(), st.none() | st.integers(1, 3)), min_size=1, max_size=4))
def test_nobody_is_locked_out_sooner_than_they_were(ends: list[tuple[bool, int | None]]) -> None:
    """Whatever may be revoked without force leaves the last moment at which keys can be made where it was."""
    live = _keys(ends)
    going = live[0]

    def last(rows: Iterable[KeyRow]) -> float:
        found = [row for row in rows if Scope.KEYS_WRITE in row.scopes]
        return max((float("inf") if row.expires_at is None else row.expires_at.timestamp() for row in found), default=0)

    assert locks_out(going, live, NOW) == (last(live[1:]) < last(live))


# ---- rotating


async def test_a_rotated_key_goes_on_beside_the_new_one(core: Core, tenant: Tenant, clock: SetClock) -> None:
    """Both are valid until the overlap is over, by core's clock and by what edges were told; then the new one alone."""
    made = await make(tenant, Scope.USAGE_WRITE, Scope.CREDITS_WRITE)
    await load(core, made["key"])
    answer = await rotate(tenant.sandbox, made["api_key_id"], overlap_seconds=3600)
    assert answer.status_code == 201
    rotated = answer.json()
    new = rotated["api_key"]
    assert (new["name"], new["scopes"], new["expires_at"]) == (made["name"], made["scopes"], None)
    assert rotated["replaced"]["api_key_id"] == made["api_key_id"]
    assert datetime.fromisoformat(rotated["replaced"]["expires_at"]) == NOW + timedelta(hours=1)
    record = await told(core, made["key"])
    assert isinstance(record, ApiKeyRecord)
    assert record.expires_at == int((NOW + timedelta(hours=1)).timestamp()) * 1_000_000
    clock.at += timedelta(seconds=3599)
    assert await works(core, made["key"])
    assert await works(core, new["key"])
    clock.at += timedelta(seconds=1)
    assert not await works(core, made["key"])
    assert await works(core, new["key"])


async def test_a_rotation_never_lengthens_a_life(tenant: Tenant) -> None:
    """An old key that ends before the overlap does ends when it did."""
    end = NOW + timedelta(hours=1)
    made = await make(tenant, expires_at=end.isoformat())
    rotated = (await rotate(tenant.sandbox, made["api_key_id"], expires_at=(NOW + DAY).isoformat())).json()
    assert datetime.fromisoformat(rotated["replaced"]["expires_at"]) == end
    assert datetime.fromisoformat(rotated["api_key"]["expires_at"]) == NOW + DAY


async def test_who_has_lost_the_new_key_rotates_again(core: Core, tenant: Tenant) -> None:
    """With the old key itself, whose end does not move."""
    made = await make(tenant, Scope.KEYS_WRITE)
    client = core.client(made["key"])
    first = (await rotate(client, made["api_key_id"])).json()
    second = (await rotate(client, made["api_key_id"])).json()
    assert first["replaced"] == second["replaced"] | {"last_used_at": first["replaced"]["last_used_at"]}
    assert first["api_key"]["key"] != second["api_key"]["key"]


async def test_what_has_ended_is_not_rotated(tenant: Tenant, clock: SetClock) -> None:
    """Neither what was revoked nor what has expired; without overlap a rotation ends a key at once."""
    revoked, rotated = await make(tenant), await make(tenant)
    expired = await make(tenant, expires_at=(NOW + DAY).isoformat())
    await revoke(tenant.sandbox, revoked["api_key_id"])
    await rotate(tenant.sandbox, rotated["api_key_id"], overlap_seconds=0)
    clock.at += DAY
    for ended in (revoked, rotated, expired):
        assert_problem(await rotate(tenant.sandbox, ended["api_key_id"]), Code.API_KEY_ENDED)
    assert_problem(await rotate(tenant.sandbox, NOBODY), Code.NOT_FOUND)


@pytest.mark.parametrize("overlap_seconds", [-1, 604_801, 0.5])
async def test_an_overlap_has_bounds(tenant: Tenant, overlap_seconds: float) -> None:
    """A week at most."""
    answer = await rotate(tenant.sandbox, await own_id(tenant), overlap_seconds=overlap_seconds)
    assert answer.status_code in {400, 422}
    assert answer.json()["errors"][0]["field"] == "overlap_seconds"


async def test_a_test_clock_does_not_move_the_end_of_a_key(tenant: Tenant) -> None:
    """Real time counts: a sandbox that stands years ahead has its keys still."""
    assert (await tenant.sandbox.post("/v1/test-clock/freeze", {"at": "2030-01-01T00:00:00Z"})).status_code < 300
    made = await make(tenant, Scope.KEYS_WRITE, expires_at=(NOW + DAY).isoformat())
    assert datetime.fromisoformat(made["created_at"]) == NOW
    rotated = (await rotate(tenant.sandbox, made["api_key_id"], overlap_seconds=60)).json()
    assert datetime.fromisoformat(rotated["replaced"]["expires_at"]) == NOW + timedelta(seconds=60)
    assert parse("key", made["api_key_id"]).version == 7


# ---- use


async def last_used(core: Core, tenant: Tenant, key_id: str) -> datetime | None:
    """When a key was used last, as the ledger's database has it: asking core would be a use."""
    read = partial(store.read_key, key_id=parse("key", key_id))
    row = await core.parts.database.run(tenant.environment_id, read)
    assert row is not None
    return row.last_used_at


async def test_core_writes_a_use_down_once_a_minute(core: Core, tenant: Tenant, clock: SetClock) -> None:
    """The first at once; whoever else has written it down meanwhile counts too."""
    made = await make(tenant, Scope.CATALOG_WRITE)
    key_id, written = made["api_key_id"], list[timedelta]()
    assert await last_used(core, tenant, key_id) is None
    for seconds in (0, 59, 60, 61, 130):
        clock.at = NOW + timedelta(seconds=seconds)
        assert await works(core, made["key"])
        used_at = await last_used(core, tenant, key_id)
        assert used_at is not None
        written.append(used_at - NOW)
    assert [one.total_seconds() for one in written] == [0, 0, 60, 60, 130]


async def test_a_use_does_not_wait_for_who_changes_the_key(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """A key that is being revoked goes on until it is."""
    made = await make(tenant, Scope.CATALOG_WRITE)
    async with connected(urls.owner) as connection, connection.transaction():
        await connection.execute("SELECT FROM api_keys FOR UPDATE")
        assert await works(core, made["key"])
    assert await last_used(core, tenant, made["api_key_id"]) is None
