"""The two functions through which core reaches tenants and keys."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction


class FoundKey(msgspec.Struct, frozen=True):
    """A key that was issued and not revoked."""

    environment_id: UUID
    environment_kind: str
    key_id: UUID
    scopes: frozenset[str]
    expires_at: datetime | None
    frozen_at: datetime | None
    """Where the test clock of the environment stands."""


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
