"""What an API key may do. A key without scopes may do nothing."""

from collections.abc import Collection
from enum import StrEnum


class Scope(StrEnum):
    """One permission of an API key; `admin` implies all others."""

    USAGE_WRITE = "usage:write"
    ENTITLEMENTS_READ = "entitlements:read"
    CREDITS_WRITE = "credits:write"
    SUBSCRIPTIONS_WRITE = "subscriptions:write"
    CATALOG_WRITE = "catalog:write"
    WEBHOOKS_WRITE = "webhooks:write"
    KEYS_WRITE = "keys:write"
    ADMIN = "admin"


ALL_SCOPES = tuple(Scope)


def lacking(scopes: frozenset[str], wanted: Collection[str]) -> list[Scope]:
    """What of `wanted` a key with `scopes` may not do itself, and so may not hand on."""
    return [scope for scope in Scope if scope in wanted and not allows(scopes, scope)]


def allows(scopes: frozenset[str], needed: Scope) -> bool:
    """Whether a key with `scopes` may do what needs `needed`."""
    return needed in scopes or Scope.ADMIN in scopes
