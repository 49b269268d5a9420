"""Tables of the ledger, as Piccolo queries them. The truth is migrations/sql; a test compares the two.

Where the key is made of several columns the last one stands as Piccolo's primary key, for it wants exactly one.
"""

from piccolo.columns import UUID, BigInt, Boolean, Bytea, Date, Integer, Numeric, SmallInt, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class Account(Table, tablename="accounts", db=ENGINE):
    """A customer's totals. The row is the lock of everything below it."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    end_user_id = Text()
    revision = BigInt()
    seq = BigInt()
    total_micro = BigInt()
    debt_micro = BigInt()
    applied_micro = BigInt()
    valid_until = Timestamptz(null=True, default=None)
    posted_at = Timestamptz(default=None)
    head_hash = Bytea()
    snapshot_id = Text(null=True, default=None)
    subscription_status = Text()
    created_at = Timestamptz(default=None)
    reserved_micro = BigInt()
    open_reservations = BigInt()
    calendar = Text(null=True, default=None)
    period_start_at = Timestamptz(null=True, default=None)
    period_end_at = Timestamptz(null=True, default=None)
    agenda_at = Timestamptz(null=True, default=None)
    composed_until = Timestamptz(null=True, default=None)


class CreditBlock(Table, tablename="credit_blocks", db=ENGINE):
    """Credit of one grant, and what is left of it."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    account_id = UUID(default=None)
    source = Text()
    granted_micro = BigInt()
    remaining_micro = BigInt()
    live = Boolean()
    priority = SmallInt()
    paid = Boolean()
    known_revision = BigInt()
    effective_at = Timestamptz(default=None)
    expires_at = Timestamptz(null=True, default=None)
    granted_at = Timestamptz(default=None)
    metadata = Text(null=True, default=None)
    price_paid = BigInt(null=True, default=None)
    currency = Text(null=True, default=None)
    external_reference = Text(null=True, default=None)
    is_scheduled = Boolean()
    terms = Text(null=True, default=None)


class LedgerTransaction(Table, tablename="ledger_transactions", db=ENGINE):
    """A numbered, chained transaction. Written once."""

    environment_id = UUID(default=None)
    account_id = UUID(default=None)
    seq = BigInt()
    id = UUID(primary_key=True, default=None)
    kind = Text()
    actor = Text()
    reason = Text(null=True, default=None)
    idempotency_key = Text(null=True, default=None)
    total_before_micro = BigInt()
    total_after_micro = BigInt()
    events_digest = Bytea(null=True, default=None)
    posted_at = Timestamptz(default=None)
    recorded_at = Timestamptz(default=None)
    previous_hash = Bytea()
    hash = Bytea()


class LedgerLine(Table, tablename="ledger_lines", db=ENGINE):
    """A line of a transaction; the lines of one sum to zero. Written once."""

    environment_id = UUID(default=None)
    account_id = UUID(default=None)
    seq = BigInt()
    line = Integer(primary_key=True)
    account_name = Text()
    amount_micro = BigInt()


class UsageEvent(Table, tablename="usage_events", db=ENGINE):
    """An event that was charged, and what it drew, in the partition of its month. Written once."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    account_id = UUID(default=None)
    seq = BigInt()
    feature_key = Text()
    units_micro = BigInt()
    cost_micro = BigInt()
    debt_micro = BigInt()
    draws = Text()
    price_id = UUID(default=None)
    idempotency_key = Text(null=True, default=None)
    properties = Text(null=True, default=None)
    occurred_at = Timestamptz(default=None)
    accepted_at = Timestamptz(default=None)
    recorded_at = Timestamptz(default=None)
    period_at = Timestamptz(null=True, default=None)


class UsageEventKey(Table, tablename="usage_event_keys", db=ENGINE):
    """The id of an event, once for ever, and where the event stands. Written once."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    account_id = UUID(default=None)
    seq = BigInt()
    accepted_at = Timestamptz(default=None)


class UsageHour(Table, tablename="usage_hours", db=ENGINE):
    """What an account used of a feature in an hour: the sum of its events."""

    environment_id = UUID(default=None)
    account_id = UUID(default=None)
    feature_key = Text()
    hour_at = Timestamptz(primary_key=True, default=None)
    units_micro = Numeric(digits=(38, 0))
    cost_micro = Numeric(digits=(38, 0))
    events = BigInt()


class UsageCounter(Table, tablename="usage_counters", db=ENGINE):
    """What an account used of a feature that is counted, in the period that began then."""

    environment_id = UUID(default=None)
    account_id = UUID(default=None)
    period_at = Timestamptz(default=None)
    feature_key = Text(primary_key=True)
    units_micro = Numeric(digits=(38, 0))


class RejectedEvent(Table, tablename="rejected_events", db=ENGINE):
    """An entry of the stream that could not be posted, and why."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    end_user_id = Text()
    stream_id = Text()
    code = Text()
    detail = Text()
    entry = Bytea()
    recorded_at = Timestamptz(default=None)
    retried_at = Timestamptz(null=True, default=None)


class PartitionLease(Table, tablename="partition_leases", db=ENGINE):
    """Which flusher owns a partition of the stream, and until when."""

    partition = SmallInt(primary_key=True)
    owner = UUID(default=None)
    lease_until = Timestamptz(default=None)


class LiveFlusher(Table, tablename="flushers", db=ENGINE):
    """A flusher that is at work, and until when nobody doubts it."""

    owner = UUID(primary_key=True, default=None)
    alive_until = Timestamptz(default=None)


class StreamCursor(Table, tablename="stream_cursors", db=ENGINE):
    """How far a partition of the stream has been posted."""

    partition = SmallInt(primary_key=True)
    incarnation = UUID(default=None)
    last_id = Text()
    updated_at = Timestamptz(default=None)


class LedgerCheckpoint(Table, tablename="ledger_checkpoints", db=ENGINE):
    """The heads of an environment's chains at one moment of a day, by their digest. Written once."""

    environment_id = UUID(default=None)
    day = Date(primary_key=True, default=None)
    taken_at = Timestamptz(default=None)
    accounts = BigInt()
    transactions = BigInt()
    digest = Bytea()
    previous_hash = Bytea()
    hash = Bytea()


class LedgerCheckpointHead(Table, tablename="ledger_checkpoint_heads", db=ENGINE):
    """A head that moved since the checkpoint before. Written once."""

    environment_id = UUID(default=None)
    account_id = UUID(default=None)
    seq = BigInt(primary_key=True)
    day = Date(default=None)
    hash = Bytea()


class DriftingAccount(Table, tablename="drifting_accounts", db=ENGINE):
    """An account that does not agree with its entries, or the edge with it, as jobs found it."""

    environment_id = UUID(default=None)
    account_id = UUID(primary_key=True, default=None)
    findings = Text()
    found_at = Timestamptz(default=None)


class Reconciliation(Table, tablename="reconciliation", db=ENGINE):
    """The last walk of jobs through all accounts."""

    id = Boolean(primary_key=True, default=True)
    began_at = Timestamptz(default=None)
    ended_at = Timestamptz(default=None)
    accounts = BigInt()
