"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, BigInt, Boolean, Integer, SmallInt, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class TopupPackage(Table, tablename="topup_packages", db=ENGINE):
    """Credit that is sold together at a price. Its terms never change."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    key = Text()
    name = Text()
    amount_micro = BigInt()
    price_paid = BigInt()
    currency = Text()
    priority = SmallInt()
    expires_after_days = Integer(null=True, default=None)
    active = Boolean()
    created_at = Timestamptz(default=None)


class Topup(Table, tablename="topups", db=ENGINE):
    """A payment, and the credit block that it became. Never changed."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    account_id = UUID(default=None)
    package_id = UUID(null=True, default=None)
    block_id = UUID(default=None)
    amount_micro = BigInt()
    price_paid = BigInt()
    currency = Text()
    payment_reference = Text()
    priority = SmallInt()
    expires_at = Timestamptz(null=True, default=None)
    created_at = Timestamptz(default=None)
