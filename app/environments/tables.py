"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, Boolean, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class EnvironmentSettings(Table, tablename="environment_settings", db=ENGINE):
    """What is set for an environment."""

    environment_id = UUID(primary_key=True, default=None)
    free_variant_id = UUID(null=True, default=None)
    auto_enroll = Boolean(default=False)
    enrolling_since = Timestamptz(null=True, default=None)
    thresholds = Text(default="[]")
    updated_at = Timestamptz(default=None)
