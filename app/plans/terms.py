"""The terms of a version as the rules of subscriptions read them."""

from collections.abc import Sequence
from uuid import UUID

from app.plans.store import Grant, Variant
from app.rules.periods import IntervalUnit
from app.rules.terms import (
    BillingMode,
    GrantTemplate,
    Interval,
    PlanKind,
    RolloverRule,
    SubscriptionTerms,
    VersionName,
)
from app.wire.ids import derived_id

MILLIONTHS_OF_A_PERCENT = 10_000


def terms_of(variant: Variant, grants: Sequence[Grant]) -> SubscriptionTerms:
    """What the variant's version says of periods, payment and credit; `grants` are the version's."""
    return SubscriptionTerms(
        name=name_of(variant),
        interval=Interval(IntervalUnit(variant.interval_unit), variant.interval_count),
        billing_mode=BillingMode(variant.billing_mode),
        grants=tuple(_template_of(variant.id, grant) for grant in grants),
        trial_days=variant.trial_days,
        renewal_due_days=variant.renewal_due_days,
        grace_period_days=variant.grace_period_days,
        allow_usage_while_overdue=variant.allow_usage_while_overdue,
        usable_while_paused=variant.usable_while_paused,
    )


def name_of(variant: Variant) -> VersionName:
    """Which version it is."""
    return VersionName(
        plan_id=variant.plan_id,
        plan_key=variant.plan_key,
        plan_kind=PlanKind(variant.plan_kind),
        variant_id=variant.id,
        variant_key=variant.key,
        version_id=variant.version_id,
        version=variant.version,
    )


def template_id(variant_id: UUID, key: str) -> UUID:
    """The id of what a variant grants under a key, in all its versions."""
    return derived_id(b"grant", variant_id.hex.encode(), key.encode())


def _template_of(variant_id: UUID, grant: Grant) -> GrantTemplate:
    return GrantTemplate(
        id=template_id(variant_id, grant.key),
        amount_micro=grant.amount_micro,
        every=_interval_of(grant.interval_unit, grant.interval_count),
        expires_after=_interval_of(grant.expires_after_unit, grant.expires_after_count),
        priority=grant.priority,
        rollover=_rollover_of(grant),
        cap_micro=grant.accumulation_cap_micro,
    )


def _interval_of(unit: str | None, count: int | None) -> Interval | None:
    return None if unit is None or count is None else Interval(IntervalUnit(unit), count)


def _rollover_of(grant: Grant) -> RolloverRule | None:
    if grant.rollover_percent is None:
        return None
    return RolloverRule(grant.rollover_percent * MILLIONTHS_OF_A_PERCENT, grant.rollover_cap_micro)
