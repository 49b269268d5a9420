"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, Boolean, Integer, Text, Timestamptz
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
    plan_kind = Text()
    period_index = Integer()
    is_free = Boolean()
    trial_plan_id = UUID(null=True, default=None)
    set_aside = Text()
    used_before = Text()
    counted_from = Timestamptz(null=True, default=None)
    changes = Integer()
    rules = Text()
    updated_at = Timestamptz(default=None)


class SubscriptionHistory(Table, tablename="subscription_history", db=ENGINE):
    """What became of a subscription, who did it and why. Written once; its key has the subscription in it."""

    environment_id = UUID(default=None)
    subscription_id = UUID(primary_key=True, default=None)
    number = Integer()
    at = Timestamptz(default=None)
    action = Text()
    state_before = Text(null=True, default=None)
    state_after = Text()
    version_before = UUID(null=True, default=None)
    version_after = UUID(default=None)
    actor = Text()
    reason = Text(null=True, default=None)
    payment_reference = Text(null=True, default=None)
    idempotency_key = Text(null=True, default=None)
    variant_asked = UUID(null=True, default=None)
