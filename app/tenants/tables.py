"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, Array, Bytea, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class Tenant(Table, tablename="tenants", db=ENGINE):
    """Who signed up."""

    id = UUID(primary_key=True, default=None)
    name = Text()
    created_at = Timestamptz(default=None)


class Environment(Table, tablename="environments", db=ENGINE):
    """One of a tenant's two worlds: sandbox or live."""

    id = UUID(primary_key=True, default=None)
    tenant_id = UUID(default=None)
    kind = Text()
    created_at = Timestamptz(default=None)


class ApiKey(Table, tablename="api_keys", db=ENGINE):
    """A key of one environment, as a digest."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    digest = Bytea()
    display_prefix = Text()
    scopes = Array(base_column=Text())
    name = Text()
    created_at = Timestamptz(default=None)
    created_by = Text()
    expires_at = Timestamptz(null=True, default=None)
    revoked_at = Timestamptz(null=True, default=None)
    last_used_at = Timestamptz(null=True, default=None)
    changed_at = Timestamptz(null=True, default=None)
