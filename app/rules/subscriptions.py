"""A subscription as rules see it: its terms, its state, its present period, and how far its grants have come.

Periods and the cycles of grants are computed from anchors (app/rules/periods.py). All moments are microseconds.
"""

from uuid import UUID

import msgspec

from app.rules.lifecycle import State
from app.rules.moments import NEVER_AT
from app.rules.periods import Calendar, IntervalUnit, Period, period_containing, start_of
from app.rules.proration import Share, prorated_difference
from app.rules.terms import GrantTemplate, Interval, SubscriptionTerms

_LENGTHS = {
    IntervalUnit.DAY: 4_800,
    IntervalUnit.WEEK: 33_600,
    IntervalUnit.MONTH: 146_097,
    IntervalUnit.YEAR: 1_753_164,
}
"""The mean length of each unit in 4,800ths of a day: 400 years of the calendar are 4,800 months and 146,097 days."""


class Cycle(msgspec.Struct, frozen=True):
    """How far a recurring grant has come."""

    template_id: UUID
    anchor_at: int
    number: int
    """Of the present one, from the anchor."""
    present: Period
    """The one that was last granted; the next begins where it ends. Empty = none was."""


class Former(msgspec.Struct, frozen=True):
    """Cycles of a length that the present terms do not have."""

    every: Interval
    cycle: Cycle
    """The one in which they were left; those after it follow from it."""


class Ahead(msgspec.Struct, frozen=True):
    """Credit that was given for time in which the terms give less: it is not given again."""

    amount_micro: int
    until_at: int
    """Where what was given has expired, and its cycle is over: then it no longer counts."""


class Contract(msgspec.Struct, frozen=True):
    """A fixed term: so many periods, a trial not among them. Then it ends, or another one like it begins."""

    periods: int
    renews: bool


class Subscription(msgspec.Struct, frozen=True):
    """A subscription at a moment. What is to happen at the period's end is one thing at most."""

    state: State
    terms: SubscriptionTerms
    zone: str
    """The billing zone's name."""
    anchor_at: int
    """Where periods are counted from."""
    period_index: int
    """How many periods it has had before the present one, a trial included; it never goes back."""
    period: Period
    """Of a trial, the trial; while overdue, the one that is over; while scheduled, empty, where it starts."""
    cycles: tuple[Cycle, ...] = ()
    former: tuple[Former, ...] = ()
    """Of earlier terms: a pause moves cycles, and who comes back to such terms finds them where they would be."""
    has_trial: bool = False
    """It starts with the trial of its terms: a customer has one trial of a plan, and the caller knows of it."""
    given_once: frozenset[UUID] = frozenset()
    """Templates that are given once, and that the customer has been given, by whatever subscription."""
    is_renewed: bool = False
    """The next period is paid for."""
    is_told: bool = False
    """The tenant was told that the period or the trial is about to end."""
    cancel_at_period_end: bool = False
    """Where the next period is paid for, at the end of that one."""
    pending: SubscriptionTerms | None = None
    """The terms from the next period on."""
    is_put_off: bool = False
    """The next period was paid for before `pending` was said: it comes as it was paid for, and they hold after it."""
    paused_at: int | None = None
    """While paused. What remained of the period then is what it goes on with."""
    ahead: Ahead | None = None
    contract: Contract | None = None

    @property
    def has_begun(self) -> bool:
        """Whether it has had a period, a trial too."""
        return self.period.start_at < self.period.end_at

    @property
    def ends_with_period(self) -> bool:
        """Whether nothing follows the present period: it is to be canceled, or a contract ends that does not renew."""
        if self.is_renewed:
            return False  # what is paid for comes
        if self.cancel_at_period_end or self.contract is None or self.contract.renews:
            return self.cancel_at_period_end
        return self.state is not State.TRIALING and self.period_index - self.has_trial + 1 >= self.contract.periods

    @property
    def scheduled_at(self) -> int:
        """When what is scheduled happens: when the period ends, or the next one, where that was paid for before."""
        if not self.is_renewed or (self.pending is not None and not self.is_put_off):
            return self.period.end_at
        anchor_at = self.period.end_at if self.state is State.TRIALING else self.anchor_at
        calendar = calendar_of(self.upcoming.interval, anchor_at, self.zone)
        return period_containing(calendar, self.period.end_at).end_at

    @property
    def upcoming(self) -> SubscriptionTerms:
        """The terms of the next period."""
        return self.terms if self.pending is None or (self.is_renewed and self.is_put_off) else self.pending

    @property
    def calendar(self) -> Calendar:
        """Its periods."""
        return calendar_of(self.terms.interval, self.anchor_at, self.zone)


def subscribe(
    terms: SubscriptionTerms,
    starts_at: int,
    zone: str,
    *,
    has_trial: bool = False,
    contract: Contract | None = None,
) -> Subscription:
    """A subscription that starts at a moment. One that starts now is one whose start is due."""
    return Subscription(
        State.SCHEDULED,
        terms,
        zone,
        starts_at,
        period_index=0,
        period=Period(starts_at, starts_at),
        has_trial=has_trial and terms.trial_days > 0,
        contract=contract,
    )


def calendar_of(interval: Interval, anchor_at: int, zone: str) -> Calendar:
    """The calendar of an interval."""
    return Calendar(anchor_at, interval.unit, interval.count, zone)


def expiry_of(template: GrantTemplate, at: int, cycle_end_at: int, zone: str) -> int:
    """When credit that the template gives `at` a moment expires."""
    if template.expires_after is not None:
        return start_of(calendar_of(template.expires_after, at, zone), 1)
    return NEVER_AT if template.every is None else cycle_end_at


def is_upgrade(old: SubscriptionTerms, new: SubscriptionTerms) -> bool:
    """Whether the new terms give as much credit over time as the old ones, or more. Then a change is at once."""
    return prorated_difference(_rates(old), _rates(new)) >= 0


def _rates(terms: SubscriptionTerms) -> list[Share]:
    recurring = [(g.amount_micro, g.every) for g in terms.grants if g.every is not None]
    return [Share(amount, 1, _LENGTHS[every.unit] * every.count) for amount, every in recurring]
