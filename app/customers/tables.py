"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class Customer(Table, tablename="customers", db=ENGINE):
    """A tenant's end user."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    end_user_id = Text()
    created_at = Timestamptz(default=None)
