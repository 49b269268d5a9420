"""Bodies of the tenant routes."""

from typing import Self

import msgspec

from app.web.fields import Name


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


class KeyLoad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key that an edge does not know; `digest` in hexadecimal."""

    digest: str


class LoadOutcome(msgspec.Struct, frozen=True):
    """What became of a load: loaded | unknown | busy."""

    status: str
