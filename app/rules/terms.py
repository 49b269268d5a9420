"""What a version of a plan variant says, as far as time and actions ask for it: periods, payment, and credit."""

from enum import StrEnum
from uuid import UUID

import msgspec

from app.rules.periods import IntervalUnit

SHORTEST_DAYS = {IntervalUnit.DAY: 1, IntervalUnit.WEEK: 7, IntervalUnit.MONTH: 28, IntervalUnit.YEAR: 365}
_LONGEST_DAYS = {IntervalUnit.DAY: 1, IntervalUnit.WEEK: 7, IntervalUnit.MONTH: 31, IntervalUnit.YEAR: 366}


class PlanKind(StrEnum):
    """What a customer is on, or what goes beside it."""

    BASE = "base"
    ADDON = "addon"


class BillingMode(StrEnum):
    """Whether a period is paid for before it begins or after it has ended."""

    PREPAID = "prepaid"
    """The next period begins once a client says that it is paid for (`renew`)."""
    POSTPAID = "postpaid"
    """The next period begins by itself."""


class Interval(msgspec.Struct, frozen=True):
    """So many units of the calendar."""

    unit: IntervalUnit
    count: int = 1


class RolloverRule(msgspec.Struct, frozen=True):
    """What of a cycle's credit goes on into the next one: a share of what is left, at most the cap (None = none)."""

    share_millionths: int
    cap_micro: int | None = None


class GrantTemplate(msgspec.Struct, frozen=True):
    """Credit that terms give: every interval, or once."""

    id: UUID
    """The same in all versions of a variant, so that what is given once is given once whatever is published."""
    amount_micro: int
    every: Interval | None
    """The length of its cycle; None = it is given once to a customer."""
    expires_after: Interval | None = None
    """None = a recurring grant expires with its cycle, one that is given once never."""
    priority: int = 100
    rollover: RolloverRule | None = None
    cap_micro: int | None = None
    """What its blocks may hold together; what does not fit is not granted."""


class VersionName(msgspec.Struct, frozen=True):
    """Which version of which variant of which plan. None of it ever changes."""

    plan_id: UUID
    plan_key: str
    plan_kind: PlanKind
    variant_id: UUID
    variant_key: str
    version_id: UUID
    version: int


class SubscriptionTerms(msgspec.Struct, frozen=True):
    """The terms of one version of a plan variant."""

    name: VersionName
    interval: Interval
    billing_mode: BillingMode
    grants: tuple[GrantTemplate, ...] = ()
    trial_days: int = 0
    renewal_due_days: int = 3
    """So long before a period or a trial ends, the tenant is told."""
    grace_period_days: int = 3
    allow_usage_while_overdue: bool = False
    usable_while_paused: bool = False
    """Whether credit that is not tied to the subscription's time can be spent while it is paused."""

    @property
    def version_id(self) -> UUID:
        """The id of the version."""
        return self.name.version_id


def most_at_once(cycle: Interval, lifetime: Interval) -> int:
    """How many blocks that live so long there may be at once, where every cycle makes one.

    Never too few: months are taken as long as they get for a lifetime, and as short for a cycle.
    """
    lifetime_days = lifetime.count * _LONGEST_DAYS[lifetime.unit]
    if cycle.unit is lifetime.unit:
        return -(-lifetime.count // cycle.count)
    return -(-lifetime_days // (cycle.count * SHORTEST_DAYS[cycle.unit]))
