"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, BigInt, Boolean, Integer, SmallInt, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class Plan(Table, tablename="plans", db=ENGINE):
    """A product that customers subscribe to, in one or more variants."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    key = Text()
    name = Text()
    created_at = Timestamptz(default=None)
    kind = Text(default="base")


class PlanVariant(Table, tablename="plan_variants", db=ENGINE):
    """A way to buy a plan: monthly, yearly."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    plan_id = UUID(default=None)
    key = Text()
    current_version_id = UUID(null=True, default=None)
    created_at = Timestamptz(default=None)


class PlanVariantVersion(Table, tablename="plan_variant_versions", db=ENGINE):
    """The terms of a variant; never changed, only followed by another version."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    variant_id = UUID(default=None)
    version = Integer()
    interval_unit = Text()
    interval_count = Integer()
    overage_policy = Text()
    created_at = Timestamptz(default=None)
    overage_limit_micro = BigInt(null=True, default=None)
    billing_mode = Text(default="prepaid")
    trial_days = Integer(default=0)
    renewal_due_days = Integer(default=3)
    grace_period_days = Integer(default=3)
    allow_usage_while_overdue = Boolean(default=False)
    usable_while_paused = Boolean(default=False)


class PlanGrant(Table, tablename="plan_grants", db=ENGINE):
    """Credit that a version gives its subscribers, in every cycle of its interval or once."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    variant_version_id = UUID(default=None)
    amount_micro = BigInt()
    interval_unit = Text(null=True, default=None)
    interval_count = Integer(null=True, default=None)
    priority = SmallInt(default=100)
    once = Boolean(default=False)
    expires_after_unit = Text(null=True, default=None)
    expires_after_count = Integer(null=True, default=None)
    rollover_percent = SmallInt(null=True, default=None)
    rollover_cap_micro = BigInt(null=True, default=None)
    accumulation_cap_micro = BigInt(null=True, default=None)
    key = Text()


class PlanFeature(Table, tablename="plan_features", db=ENGINE):
    """A feature that a version includes. Its key is the pair with the feature; Piccolo wants one column."""

    environment_id = UUID(default=None)
    variant_version_id = UUID(default=None)
    feature_id = UUID(primary_key=True, default=None)
    overage_policy = Text(null=True, default=None)
    limit_units_micro = BigInt(null=True, default=None)
    overage_limit_micro = BigInt(null=True, default=None)
    value = Text(null=True, default=None)
