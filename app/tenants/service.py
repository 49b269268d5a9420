"""Making tenants, and finding out who asks."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from app.io.clock import Clock
from app.io.ids import new_api_key, new_id
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore, RedisUnavailable
from app.rules.guesses import KEYS_AT_ONCE, KEYS_PER_SECOND, MAX_ADDRESSES, Attempts, Guesses
from app.rules.moments import to_at
from app.rules.seldom import Seldom
from app.tenants import store
from app.tenants.schemas import TenantCreated
from app.tenants.store import FoundKey, KeyRow, NewEnvironment, NewTenantRow
from app.trail import audit
from app.web.principal import Principal, too_many_attempts
from app.wire import key_digest
from app.wire.ids import show
from app.wire.scopes import ALL_SCOPES
from app.wire.snapshot import ApiKeyRecord, encode_api_key

_log: Any = structlog.get_logger(__name__)

USE_NOTED_SECONDS = 60
"""How often the use of a key is written down at most."""
MAX_NOTED = 10_000
"""Keys of which core remembers that it knows them, and when it wrote that down."""
DISPLAY_PREFIX_LENGTH = 12
"""How much of a key is kept so that its owner can tell it from others; 4 characters of the secret."""


class Keys:
    """The API keys of this installation; at rest there are only their digests under `pepper`."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock, pepper: str) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._pepper = pepper.encode()
        self._guesses = Guesses(Attempts(KEYS_PER_SECOND, KEYS_AT_ONCE, MAX_ADDRESSES), MAX_NOTED)
        self._noting = Seldom[UUID](USE_NOTED_SECONDS * 1_000_000, MAX_NOTED)

    def digest(self, key: str) -> bytes:
        """What is kept of a key."""
        return key_digest.digest(self._pepper, key)

    async def authenticate(self, key: str, address: str) -> Principal | None:
        """Who a key belongs to that came from an address; None where it is malformed, unknown, revoked or expired.

        Raises ServiceError(TOO_MANY_REQUESTS) where many keys that are none came from there, and this one is new here.
        """
        digest, now = self.digest(key), self._clock.now()
        if self._guesses.is_wrong(digest, to_at(now)):
            return None
        if not self._guesses.allows(address, digest, to_at(now)):
            raise too_many_attempts()
        found = await self._find(digest) if key_digest.is_well_formed(key) else None
        if found is None or _has_expired(found, now):
            self._guesses.prove_wrong(address, digest, to_at(now))
            return None
        self._guesses.prove_right(digest)
        if self._noting.is_due(found.key_id, to_at(now)):
            await self._note_use(found, now)
        return Principal(found.environment_id, found.environment_kind, found.key_id, found.scopes, found.frozen_at)

    async def _note_use(self, found: FoundKey, now: datetime) -> None:
        unless_after = now - timedelta(seconds=USE_NOTED_SECONDS)
        await self._database.run(
            found.environment_id, lambda tx: store.note_use(tx, found.key_id, now, unless_after=unless_after)
        )

    async def load(self, digest: bytes) -> str:
        """Tell the edges of a key, or for a while that there is none: 'loaded' | 'unknown'.

        'found': there is one, and Redis does not answer. Where it is revoked meanwhile, edges were told of that
        already, and what was read before does not undo it.
        """
        found, record = await self._find(digest), None
        if found is not None and not _has_expired(found, self._clock.now()):
            environment = (found.environment_id, found.environment_kind)
            record = encode_record(found.key_id, environment, found.scopes, found.expires_at)
        status = "unknown" if record is None else "loaded"
        try:
            await self._redis.put_api_key(digest, record, replaces=False)
        except RedisUnavailable as error:
            _log.warning("edges_not_told", error=str(error))
            status = "unknown" if record is None else "found"
        return status

    async def tell_edges(self, principal: Principal, key: KeyRow) -> bool:
        """Have edges go by what a key of the principal's environment is now; False where Redis does not answer.

        Called before the commit: where this process dies in between, edges refuse for a minute what is still valid, and
        never go on with what was revoked. What they are not told here, jobs tells them.
        """
        record = None
        if key.revoked_at is None:
            environment = (principal.environment_id, principal.environment_kind)
            record = encode_record(key.id, environment, key.scopes, key.expires_at)
        try:
            await self._redis.put_api_key(key.digest, record, replaces=True)
        except RedisUnavailable as error:
            _log.warning("edges_not_told", key=show("key", key.id), error=str(error))
            return False
        return True

    async def _find(self, digest: bytes) -> FoundKey | None:
        return await self._database.run(None, lambda tx: store.find_key(tx, digest))


async def create_tenant(tx: Transaction, keys: Keys, name: str, now: datetime) -> TenantCreated:
    """A tenant with a sandbox and a live environment, each with a key that may do everything."""
    sandbox_key, live_key = new_api_key("sandbox"), new_api_key("live")
    tenant = NewTenantRow(
        new_id(now), name, _environment(keys, sandbox_key, now), _environment(keys, live_key, now), ALL_SCOPES, now
    )
    await store.insert_tenant(tx, tenant)
    for environment in (tenant.sandbox, tenant.live):
        audit.changed(tx, "tenant", show("ten", tenant.id), environment_id=environment.id)
    return TenantCreated(
        show("ten", tenant.id),
        name,
        show("env", tenant.sandbox.id),
        show("env", tenant.live.id),
        sandbox_key,
        live_key,
    )


def _environment(keys: Keys, key: str, now: datetime) -> NewEnvironment:
    return NewEnvironment(new_id(now), new_id(now), keys.digest(key), key[:DISPLAY_PREFIX_LENGTH])


def _has_expired(found: FoundKey, now: datetime) -> bool:
    return found.expires_at is not None and found.expires_at <= now


def encode_record(
    key_id: UUID, environment: tuple[UUID, str], scopes: Iterable[str], expires_at: datetime | None
) -> bytes:
    """What edges are told of a key that was not revoked, of this environment and its kind."""
    end_at = None if expires_at is None else to_at(expires_at)
    return encode_api_key(ApiKeyRecord(key_id, *environment, frozenset(scopes), end_at))
