"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, Bytea, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class Snapshot(Table, tablename="snapshots", db=ENGINE):
    """What a customer on one composition may do; named by a digest of its content, never changed."""

    environment_id = UUID(default=None)
    id = Text(primary_key=True)
    content = Bytea()
    created_at = Timestamptz(default=None)
