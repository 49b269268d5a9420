"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class TestClock(Table, tablename="test_clocks", db=ENGINE):
    """Where the clock of an environment stands."""

    environment_id = UUID(primary_key=True, default=None)
    kind = Text(default="sandbox")
    frozen_at = Timestamptz(default=None)
    advanced_from = Timestamptz(null=True, default=None)
    advancing_to = Timestamptz(null=True, default=None)
    created_at = Timestamptz(default=None)
    moved_under = Text(null=True, default=None)
