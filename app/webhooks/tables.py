"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two.

Where the key is made of several columns the last one stands as Piccolo's primary key, for it wants exactly one.
"""

from piccolo.columns import UUID, Array, BigInt, Boolean, Integer, SmallInt, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class WebhookEndpoint(Table, tablename="webhook_endpoints", db=ENGINE):
    """Where a tenant wants to hear of what happens."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    url = Text()
    description = Text()
    event_types = Array(base_column=Text(), null=True, default=None)
    enabled = Boolean()
    disabled_reason = Text(null=True, default=None)
    disabled_at = Timestamptz(null=True, default=None)
    secret_version = Integer()
    rotated_until = Timestamptz(null=True, default=None)
    failing_since = Timestamptz(null=True, default=None)
    created_at = Timestamptz(default=None)
    updated_at = Timestamptz(default=None)
    deleted_at = Timestamptz(null=True, default=None)


class WebhookDelivery(Table, tablename="webhook_deliveries", db=ENGINE):
    """An event on its way to an endpoint."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    endpoint_id = UUID(default=None)
    event_id = UUID(default=None)
    end_user_id = Text()
    place = BigInt()
    state = Text()
    attempts = Integer()
    attempts_before = Integer()
    created_at = Timestamptz(default=None)
    finished_at = Timestamptz(null=True, default=None)


class WebhookQueue(Table, tablename="webhook_queues", db=ENGINE):
    """What waits for an endpoint of one customer's events, and when it is tried next."""

    environment_id = UUID(default=None)
    endpoint_id = UUID(default=None)
    end_user_id = Text(primary_key=True)
    waiting = Integer()
    due_at = Timestamptz(default=None)
    claim = UUID(null=True, default=None)


class WebhookAttempt(Table, tablename="webhook_attempts", db=ENGINE):
    """One attempt of a delivery, and what was answered."""

    environment_id = UUID(default=None)
    delivery_id = UUID(default=None)
    number = Integer(primary_key=True)
    at = Timestamptz(default=None)
    status = SmallInt(null=True, default=None)
    failure = Text(null=True, default=None)
    elapsed_ms = Integer()
    answer = Text(null=True, default=None)


class WebhookReplay(Table, tablename="webhook_replays", db=ENGINE):
    """A range of the feed that is being queued again for an endpoint."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    endpoint_id = UUID(default=None)
    event_types = Array(base_column=Text(), null=True, default=None)
    next_position = BigInt()
    last_position = BigInt()
    created_at = Timestamptz(default=None)
