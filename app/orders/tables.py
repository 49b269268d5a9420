"""The table of orders, as Piccolo queries it. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, BigInt, Bytea, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class OrderRow(Table, tablename="ledger_orders", db=ENGINE):
    """What became of an order. Written once."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    account_id = UUID(default=None)
    kind = Text()
    target_id = UUID(null=True, default=None)
    code = Text(null=True, default=None)
    amount_micro = BigInt()
    seq = BigInt(null=True, default=None)
    digest = Bytea()
    recorded_at = Timestamptz(default=None)
    context = Text(null=True, default=None)
