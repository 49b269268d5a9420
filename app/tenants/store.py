"""Rows of keys, and the two functions through which core reaches what it may not read: tenants, and who a key is."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.api_keys import KeyUse
from app.io.postgres import Transaction
from app.io.statements import statements
from app.rules.moments import to_datetime

_SQL = statements("app.tenants")


class FoundKey(msgspec.Struct, frozen=True):
    """A key that was issued and not revoked."""

    environment_id: UUID
    environment_kind: str
    key_id: UUID
    scopes: frozenset[str]
    expires_at: datetime | None
    frozen_at: datetime | None
    """Where the test clock of the environment stands."""


class KeyRow(msgspec.Struct, frozen=True):
    """A key of the environment, also one that has ended."""

    id: UUID
    digest: bytes
    display_prefix: str
    name: str
    scopes: Sequence[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class ChangedKey(msgspec.Struct, frozen=True):
    """A key of any environment that was revoked or given another end, and what edges have to know of it."""

    changed_at: datetime
    key_id: UUID
    digest: bytes
    environment_id: UUID
    environment_kind: str
    scopes: Sequence[str]
    expires_at: datetime | None
    is_revoked: bool


class NewEnvironment(msgspec.Struct, frozen=True):
    """An environment to be made, with its first key."""

    id: UUID
    key_id: UUID
    key_digest: bytes
    key_display_prefix: str


class NewTenantRow(msgspec.Struct, frozen=True):
    """A tenant to be made."""

    id: UUID
    name: str
    sandbox: NewEnvironment
    live: NewEnvironment
    scopes: tuple[str, ...]
    created_at: datetime


async def find_key(tx: Transaction, digest: bytes) -> FoundKey | None:
    """The key with this digest."""
    row = await tx.connection.fetchrow("SELECT * FROM authenticate_key($1)", digest)
    if row is None:
        return None
    scopes = frozenset[str](row["scopes"])
    return FoundKey(
        row["environment_id"], row["environment_kind"], row["key_id"], scopes, row["expires_at"], row["frozen_at"]
    )


async def read_frozen_at(tx: Transaction) -> datetime | None:
    """Where the test clock of the environment stands; None = it goes by the real time."""
    statement = "SELECT frozen_at FROM test_clocks WHERE environment_id = $1"
    return await tx.connection.fetchval(statement, tx.environment)


async def insert_tenant(tx: Transaction, tenant: NewTenantRow) -> None:
    """Add the tenant, its environments and their keys."""
    environments = (tenant.sandbox, tenant.live)
    await tx.connection.execute(
        "SELECT create_tenant($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant.id,
        tenant.name,
        [environment.id for environment in environments],
        [environment.key_id for environment in environments],
        [environment.key_digest for environment in environments],
        [environment.key_display_prefix for environment in environments],
        list(tenant.scopes),
        tenant.created_at,
    )


async def lock_keys(tx: Transaction) -> None:
    """Have changes of the environment's keys come one after the other, until the transaction ends."""
    await tx.connection.execute(_SQL["lock_keys"], tx.environment)


async def list_live_keys(tx: Transaction, now: datetime) -> list[KeyRow]:
    """Keys that are valid; their number is bounded (`issuing`)."""
    return [KeyRow(*row) for row in await tx.connection.fetch(_SQL["list_live_keys"], tx.environment, now)]


async def list_keys(tx: Transaction, after: UUID | None, limit: int) -> list[KeyRow]:
    """Keys in the order in which they were made, after the id `after`."""
    return [KeyRow(*row) for row in await tx.connection.fetch(_SQL["list_keys"], tx.environment, after, limit)]


async def read_key(tx: Transaction, key_id: UUID) -> KeyRow | None:
    """One key."""
    row = await tx.connection.fetchrow(_SQL["read_key"], tx.environment, key_id)
    return None if row is None else KeyRow(*row)


async def insert_key(tx: Transaction, key: KeyRow) -> None:
    """Add a key that nobody has used yet."""
    row = (key.id, key.digest, key.display_prefix, key.name, list(key.scopes))
    await tx.connection.execute(
        _SQL["insert_key"], tx.environment, *row, key.created_at, key.created_by, key.expires_at
    )


async def rename_key(tx: Transaction, key_id: UUID, name: str) -> None:
    """Give a key another name."""
    await tx.connection.execute(_SQL["rename_key"], tx.environment, key_id, name)


async def end_key(tx: Transaction, key: KeyRow, now: datetime) -> None:
    """Keep when the key ends, and whether it was revoked."""
    await tx.connection.execute(_SQL["end_key"], tx.environment, key.id, key.expires_at, key.revoked_at, now)


async def note_use(tx: Transaction, key_id: UUID, used_at: datetime, unless_after: datetime) -> None:
    """Keep that a key was used, unless a use after `unless_after` is known."""
    await tx.connection.execute(_SQL["note_use"], tx.environment, key_id, used_at, unless_after)


async def list_changed_keys(tx: Transaction, after: tuple[datetime, UUID], limit: int) -> list[ChangedKey]:
    """Keys of all environments by when they changed last, after a moment and a key."""
    return [ChangedKey(*row) for row in await tx.connection.fetch(_SQL["list_changed_keys"], *after, limit)]


async def note_uses(tx: Transaction, uses: Sequence[KeyUse]) -> None:
    """Keep when keys of any environment were used, where no later use is known."""
    await tx.connection.execute(
        _SQL["note_uses"],
        [use.environment_id for use in uses],
        [use.key_id for use in uses],
        [to_datetime(use.used_at) for use in uses],
    )


async def read_kind(tx: Transaction) -> str | None:
    """Whether the environment is sandbox or live; None where there is none. For the owner: core may not look."""
    return await tx.connection.fetchval("SELECT kind FROM environments WHERE id = $1", tx.environment)
