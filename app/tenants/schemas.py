"""Bodies of the tenant routes."""

import msgspec

from app.web.fields import Name


class NewTenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant to be made."""

    name: Name


class TenantCreated(msgspec.Struct, frozen=True):
    """A new tenant. The two keys are shown here and never again."""

    tenant_id: str
    name: str
    sandbox_environment_id: str
    live_environment_id: str
    sandbox_key: str
    live_key: str


class KeyLoad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key that an edge does not know; `digest` in hexadecimal."""

    digest: str


class LoadOutcome(msgspec.Struct, frozen=True):
    """What became of a load: loaded | unknown | busy."""

    status: str
