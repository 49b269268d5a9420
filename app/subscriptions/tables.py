"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class Subscription(Table, tablename="subscriptions", db=ENGINE):
    """A customer on one version of a plan variant."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    customer_id = UUID(default=None)
    variant_id = UUID(default=None)
    variant_version_id = UUID(default=None)
    state = Text()
    anchor_at = Timestamptz(default=None)
    period_start_at = Timestamptz(default=None)
    period_end_at = Timestamptz(default=None)
    created_at = Timestamptz(default=None)
