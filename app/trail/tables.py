"""Tables of the trail, as Piccolo queries them. The truth is migrations/sql; a test compares the two.

Where the key is made of several columns the last one stands as Piccolo's primary key, for it wants exactly one.
"""

from piccolo.columns import JSON, JSONB, UUID, BigInt, Boolean, Bytea, SmallInt, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class DirtyAccount(Table, tablename="dirty_accounts", db=ENGINE):
    """An account whose snapshot has changed and may not have been published yet."""

    environment_id = UUID(default=None)
    account_id = UUID(primary_key=True, default=None)
    revision = BigInt()


class Outbox(Table, tablename="outbox", db=ENGINE):
    """Something that happened and that others will want to hear of."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    type = Text()
    end_user_id = Text(null=True, default=None)
    data = JSONB()
    created_at = Timestamptz(default=None)
    sequence = BigInt()
    arrival = BigInt()
    position = BigInt(null=True, default=None)
    relayed_at = Timestamptz(null=True, default=None)
    traceparent = Text(null=True, default=None)


class OutboxHead(Table, tablename="outbox_heads", db=ENGINE):
    """The last number that an event of a customer has; the empty name stands for what concerns none."""

    environment_id = UUID(default=None)
    end_user_id = Text(primary_key=True)
    last_sequence = BigInt()


class EventFeed(Table, tablename="event_feeds", db=ENGINE):
    """How many events the feed of an environment has."""

    environment_id = UUID(primary_key=True, default=None)
    last_position = BigInt()


class IdempotencyKey(Table, tablename="idempotency_keys", db=ENGINE):
    """What was asked under a key, and what was answered."""

    environment_id = UUID(default=None)
    route = Text()
    key = Text(primary_key=True)
    request = Text()
    status = SmallInt(null=True, default=None)
    body = Bytea(null=True, default=None)
    created_at = Timestamptz(default=None)
    touched_ledger = Boolean()


class OperatorKey(Table, tablename="operator_keys", db=ENGINE):
    """What an operator asked under a key, and what was answered, without its secrets."""

    route = Text()
    key = Text(primary_key=True)
    request = Text()
    status = SmallInt(null=True, default=None)
    body = Bytea(null=True, default=None)
    created_at = Timestamptz(default=None)


class AuditLog(Table, tablename="audit_log", db=ENGINE):
    """A mutation that took effect."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    at = Timestamptz(default=None)
    actor = Text()
    request_id = Text()
    route = Text()
    status = SmallInt()
    subject_kind = Text(null=True, default=None)
    subject_id = Text(null=True, default=None)
    request = JSON()
    before = JSON(null=True, default=None)
    after = JSON(null=True, default=None)
    reason = Text(null=True, default=None)
    idempotency_key = Text(null=True, default=None)
