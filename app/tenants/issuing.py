"""Making, rotating and revoking the keys of an environment.

Whoever holds `keys:write` hands out what they may do themselves, and ends any key. Real time counts here, whatever a
test clock says.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from msgspec.structs import replace

from app.errors import ServiceError
from app.io.ids import new_api_key, new_id
from app.io.postgres import Transaction
from app.tenants import store
from app.tenants.schemas import (
    ApiKeyCreated,
    ApiKeyRevoked,
    ApiKeyRotated,
    NewApiKey,
    Rotation,
    show_key,
    show_new_key,
    show_revoked_key,
)
from app.tenants.service import DISPLAY_PREFIX_LENGTH, Keys
from app.tenants.store import KeyRow
from app.trail import audit
from app.web.fields import require_ahead
from app.web.principal import Principal
from app.wire.codes import Code
from app.wire.complaints import REAL_TIME
from app.wire.ids import show
from app.wire.scopes import Scope, allows, lacking

MAX_LIVE_KEYS = 100
"""Of one environment. A rotation may go up to twice as many: each key may have its successor beside it."""
KIND: Final = "api_key"
"""What the audit log calls them."""
_NO_END = datetime.max.replace(tzinfo=UTC)


class Issuer(msgspec.Struct, frozen=True):
    """Who changes keys, and when it really is."""

    keys: Keys
    principal: Principal
    now: datetime


async def create_key(tx: Transaction, issuer: Issuer, asked: NewApiKey) -> ApiKeyCreated:
    """A new key of the environment.

    Raises ServiceError: MISSING_SCOPE for what the issuer lacks, INVALID_VALUE, TOO_MANY_API_KEYS.
    """
    _require_own(issuer.principal, asked.scopes)
    require_ahead("expires_at", asked.expires_at, issuer.now, "leave it out for no end", REAL_TIME)
    await _require_room(tx, issuer.now, MAX_LIVE_KEYS)
    return await _issue(tx, issuer, asked)


async def rotate_key(tx: Transaction, issuer: Issuer, key_id: UUID, asked: Rotation) -> ApiKeyRotated:
    """A new key with the name and the scopes of an old one, which ends when the overlap is over, or before.

    It may be rotated again until then: who has lost the new key has the old one still. Raises ServiceError: NOT_FOUND,
    API_KEY_ENDED, and as `create_key` does.
    """
    require_ahead("expires_at", asked.expires_at, issuer.now, "leave it out for no end", REAL_TIME)
    await _require_room(tx, issuer.now, 2 * MAX_LIVE_KEYS)
    old = await find_key(tx, key_id)
    scopes = [scope for scope in Scope if scope in old.scopes]
    _require_own(issuer.principal, scopes)
    if _end(old) <= issuer.now:
        detail = f"The API key {show('key', key_id)} has ended: it was revoked, or it has expired. Make a new one."
        raise ServiceError(Code.API_KEY_ENDED, detail)
    made = await _issue(tx, issuer, NewApiKey(old.name, scopes, asked.expires_at))
    ending = replace(old, expires_at=min(_end(old), issuer.now + timedelta(seconds=asked.overlap_seconds)))
    await store.end_key(tx, ending, issuer.now)
    audit.changed(tx, KIND, show("key", key_id), before=show_key(old), after=show_key(ending))
    told = await issuer.keys.tell_edges(issuer.principal, ending)
    return ApiKeyRotated(api_key=made, replaced=show_key(ending), edges_told=told)


async def revoke_key(tx: Transaction, issuer: Issuer, key_id: UUID, *, force: bool) -> ApiKeyRevoked:
    """The key, which is not valid any more; as it was where it had been revoked before.

    Raises ServiceError: NOT_FOUND, LAST_API_KEY where afterwards nobody could make keys any more, unless that is
    forced.
    """
    await store.lock_keys(tx)
    key = await find_key(tx, key_id)
    if key.revoked_at is None:
        if not force and locks_out(key, await store.list_live_keys(tx, issuer.now), issuer.now):
            detail = (
                "No other key of this environment that may make keys is valid as long as this one. Make one first, "
                "or say force=true; then only the operator can make keys again."
            )
            raise ServiceError(Code.LAST_API_KEY, detail)
        audit.changed(tx, KIND, show("key", key_id), before=show_key(key))
        key = replace(key, revoked_at=issuer.now)
        await store.end_key(tx, key, issuer.now)
    return show_revoked_key(key, edges_told=await issuer.keys.tell_edges(issuer.principal, key))


async def rename_key(tx: Transaction, key_id: UUID, name: str) -> KeyRow:
    """The key by its new name. Raises ServiceError(NOT_FOUND)."""
    key = await find_key(tx, key_id)
    await store.rename_key(tx, key_id, name)
    audit.changed(tx, KIND, show("key", key_id), before=show_key(key))
    return replace(key, name=name)


async def find_key(tx: Transaction, key_id: UUID) -> KeyRow:
    """A key of the environment. Raises ServiceError(NOT_FOUND)."""
    key = await store.read_key(tx, key_id)
    if key is None:
        raise ServiceError(Code.NOT_FOUND, f"There is no API key {show('key', key_id)}.")
    return key


def locks_out(going: KeyRow, live: Sequence[KeyRow], now: datetime) -> bool:
    """Whether no key that may make keys is left that is valid as long as this one would have been."""
    if not _makes_keys(going) or _end(going) <= now:
        return False
    return not any(_makes_keys(key) and _end(key) >= _end(going) for key in live if key.id != going.id)


def _makes_keys(key: KeyRow) -> bool:
    return allows(frozenset(key.scopes), Scope.KEYS_WRITE)


def _end(key: KeyRow) -> datetime:
    """When the key ends or has ended; the end of days where it does not end by itself."""
    return min(key.expires_at or _NO_END, key.revoked_at or _NO_END)


async def _issue(tx: Transaction, issuer: Issuer, asked: NewApiKey) -> ApiKeyCreated:
    key = new_api_key(issuer.principal.environment_kind)
    row = KeyRow(
        new_id(issuer.now),
        issuer.keys.digest(key),
        key[:DISPLAY_PREFIX_LENGTH],
        asked.name,
        tuple(scope for scope in Scope if scope in asked.scopes),
        issuer.now,
        issuer.principal.actor,
        None if asked.expires_at is None else asked.expires_at.astimezone(UTC),
    )
    await store.insert_key(tx, row)
    audit.changed(tx, KIND, show("key", row.id), after=show_key(row))
    return show_new_key(row, key)


def _require_own(principal: Principal, scopes: Sequence[Scope]) -> None:
    """Nobody hands on what they may not do. Raises ServiceError(MISSING_SCOPE)."""
    if missing := lacking(principal.scopes, scopes):
        detail = f"The key that asks lacks {', '.join(missing)}, so it cannot give that to another."
        raise ServiceError(Code.MISSING_SCOPE, detail)


async def _require_room(tx: Transaction, now: datetime, most: int) -> None:
    """Whether one more key may be valid at a time; no other is made meanwhile. Raises ServiceError."""
    await store.lock_keys(tx)
    if len(await store.list_live_keys(tx, now)) >= most:
        detail = f"The environment has {most} valid API keys, which is the most. Revoke some that are not used."
        raise ServiceError(Code.TOO_MANY_API_KEYS, detail)
