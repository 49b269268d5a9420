"""The table of reservations, as Piccolo queries it. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, BigInt, Boolean, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class ReservationRow(Table, tablename="reservations", db=ENGINE):
    """What a reservation is, which never changes, and where it stands."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    account_id = UUID(default=None)
    feature_key = Text()
    in_credits = Boolean()
    units_micro = BigInt()
    reserved_micro = BigInt()
    debt_micro = BigInt()
    draws = Text()
    price_id = UUID(default=None)
    idempotency_key = Text(null=True, default=None)
    properties = Text(null=True, default=None)
    period_at = Timestamptz(null=True, default=None)
    opened_at = Timestamptz(default=None)
    opened_seq = BigInt()
    expires_at = Timestamptz(default=None)
    state = Text()
    used_micro = BigInt()
    ended_at = Timestamptz(null=True, default=None)
    ended_seq = BigInt(null=True, default=None)
