"""Bodies of the routes of tenants and API keys."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from app.errors import invalid_value
from app.tenants.store import KeyRow
from app.trail.idempotency import InQuery
from app.web.fields import Moment, Name
from app.wire.ids import MalformedId, parse, show
from app.wire.scopes import ALL_SCOPES, Scope

MAX_OVERLAP_SECONDS = 604_800
OVERLAP_SECONDS = 86_400
"""How long a key goes on beside the one that takes its place, unless said otherwise."""
Scopes = Annotated[
    list[Scope], Meta(max_length=len(ALL_SCOPES), description="What the key may do. Without scopes it may do nothing.")
]


class NewTenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant to be made."""

    name: Name


class TenantCreated(msgspec.Struct, frozen=True):
    """A new tenant. The two keys are shown here and never again: in a replay they are null."""

    tenant_id: str
    name: str
    sandbox_environment_id: str
    live_environment_id: str
    sandbox_key: str | None
    live_key: str | None

    def without_secrets(self) -> Self:
        """What is kept of it."""
        return msgspec.structs.replace(self, sandbox_key=None, live_key=None)


class NewApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be made. Without `expires_at` it does not end by itself."""

    name: Name
    scopes: Scopes = []
    expires_at: Moment | None = None


class ApiKeyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be changed of a key. What it may do cannot: make another one."""

    name: Name


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long both keys are valid, and when the new one ends (null: not by itself)."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=MAX_OVERLAP_SECONDS)] = OVERLAP_SECONDS
    expires_at: Moment | None = None


class Revocation(InQuery, frozen=True):
    """What a revocation says beside its path."""

    force: bool


class ApiKeyBody(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret.

    `last_used_at` is written about once a minute, so the last use may be up to two minutes later.
    """

    api_key_id: str
    name: str
    display_prefix: str
    scopes: list[Scope]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class ApiKeyCreated(ApiKeyBody, frozen=True, kw_only=True):
    """A new key. `key` is shown here and never again: a replay of the request has null in its place."""

    key: str | None

    def without_secrets(self) -> Self:
        """What is stored of the answer."""
        return replace(self, key=None)


class ApiKeyRotated(msgspec.Struct, frozen=True, kw_only=True):
    """The key that takes over, and the one that ends. `edges_told` as where a key is revoked."""

    api_key: ApiKeyCreated
    replaced: ApiKeyBody
    edges_told: bool

    def without_secrets(self) -> Self:
        """What is stored of the answer."""
        return replace(self, api_key=self.api_key.without_secrets())


class ApiKeyRevoked(ApiKeyBody, frozen=True, kw_only=True):
    """A key that was revoked.

    With `edges_told` every edge refuses it within a second of this answer. Without, Redis could not be reached, and
    they refuse it soon after it can be.
    """

    edges_told: bool


class KeyLoad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key that an edge does not know; `digest` in hexadecimal."""

    digest: str


class LoadOutcome(msgspec.Struct, frozen=True):
    """What became of a load: loaded | unknown | busy; of a key also found: there is one, and Redis does not answer."""

    status: str


def parse_key_id(text: str) -> UUID:
    """The id in a path. Raises ServiceError(INVALID_VALUE)."""
    try:
        return parse("key", text)
    except MalformedId as error:
        raise invalid_value("api_key_id", str(error)) from error


def show_key(row: KeyRow) -> ApiKeyBody:
    """The key as the API shows it."""
    return ApiKeyBody(**_shown(row))


def show_new_key(row: KeyRow, key: str) -> ApiKeyCreated:
    """The key as the API shows it once."""
    return ApiKeyCreated(**_shown(row), key=key)


def show_revoked_key(row: KeyRow, *, edges_told: bool) -> ApiKeyRevoked:
    """The key as the API shows it when it is revoked."""
    return ApiKeyRevoked(**_shown(row), edges_told=edges_told)


def _shown(row: KeyRow) -> dict[str, Any]:
    return {
        "api_key_id": show("key", row.id),
        "name": row.name,
        "display_prefix": row.display_prefix,
        "scopes": [scope for scope in Scope if scope in row.scopes],
        "created_at": row.created_at,
        "created_by": row.created_by,
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
        "last_used_at": row.last_used_at,
    }
