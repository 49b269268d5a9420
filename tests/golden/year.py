"""A year of a monthly subscription from 31 January on: told as a story, lived by the rules, written down for people."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from app.rules.actions import Arguments, act
from app.rules.agenda import catch_up
from app.rules.credits import MICRO, from_micro
from app.rules.effects import (
    Announced,
    Billed,
    BlocksFrozen,
    BlocksMoved,
    Effect,
    Granted,
    PeriodTurned,
    RolloverFreed,
    RolloverHeld,
    RolloverLost,
    StateChanged,
    TermsChanged,
)
from app.rules.lifecycle import Action
from app.rules.moments import NEVER_AT, to_at, to_datetime
from app.rules.periods import IntervalUnit, Period
from app.rules.subscriptions import subscribe
from app.rules.terms import BillingMode, GrantTemplate, Interval, SubscriptionTerms
from tests.rules.subscribing import version_name

YEAR = 2026
MONTH = Interval(IntervalUnit.MONTH)
HOUR_MICROSECONDS = 3_600_000_000


def _terms(number: int, credit: int, *more: GrantTemplate) -> SubscriptionTerms:
    monthly = GrantTemplate(UUID(int=number), credit * MICRO, MONTH)
    return SubscriptionTerms(version_name(UUID(int=number)), MONTH, BillingMode.PREPAID, (monthly, *more))


WELCOME = GrantTemplate(UUID(int=9), 50 * MICRO, None, Interval(IntervalUnit.DAY, 30))
SMALL, LARGE = _terms(1, 1000, WELCOME), _terms(2, 2500)
NAMES = {1: "small", 2: "large", 9: "welcome"}
STORY = [
    ("27 Feb 12:00", Action.RENEW, None),
    ("30 Mar 12:00", Action.RENEW, None),
    ("10 Apr 15:00", Action.CHANGE, LARGE),
    # Late by a day: the anchor stays.
    ("01 May 10:00", Action.RENEW, None),
    ("30 May 12:00", Action.RENEW, None),
    ("29 Jun 12:00", Action.RENEW, None),
    # Ten days of July: from now on a period ends on the 10th.
    ("11 Jul 08:00", Action.PAUSE, None),
    ("21 Jul 08:00", Action.RESUME, None),
    ("09 Aug 12:00", Action.RENEW, None),
    ("20 Aug 12:00", Action.SCHEDULE_CHANGE, SMALL),
    ("09 Sep 12:00", Action.RENEW, None),
    ("09 Oct 12:00", Action.RENEW, None),
    ("01 Nov 12:00", Action.CANCEL_AT_PERIOD_END, None),
    ("08 Nov 12:00", Action.UNSCHEDULE, None),
    ("09 Nov 12:00", Action.RENEW, None),
]
"""When, on the zone's own clock, who did what; in December nobody pays."""


def show(zone: str) -> str:
    """The year in a zone, line by line."""
    place = ZoneInfo(zone)
    shown = [f"The year {YEAR} of a monthly subscription; moments are those of {zone}. `>` is what a client did.", ""]

    def tell(effects: list[Effect]) -> None:
        shown.extend(f"{_clock(effect.at, place)}    {_words(effect, place)}" for effect in effects)

    starts_at = _at("31 Jan 09:00", place)
    subscription, effects = catch_up(subscribe(SMALL, starts_at, zone, has_trial=False), starts_at)
    tell(effects)
    for text, action, terms in STORY:
        now = _at(text, place)
        subscription, effects = catch_up(subscription, now)
        tell(effects)
        shown.append(f"{_clock(now, place)}  > {action}{'' if terms is None else f' to {_name(terms.version_id)}'}")
        subscription, effects = act(subscription, action, Arguments(terms), now)
        tell(effects)
    tell(catch_up(subscription, _at("31 Dec 23:59", place))[1])
    return "\n".join([*shown, ""])


_OF_ROLLOVER = {
    RolloverHeld: "what rolls over waits for the payment",
    RolloverFreed: "what waited for the payment comes",
    RolloverLost: "what waited for the payment expires",
}


def _words(effect: Effect, place: ZoneInfo) -> str:
    match effect:
        case StateChanged(_, action, before, after):
            words = f"{before} -> {after} ({action})"
        case TermsChanged(_, before_id, after_id):
            words = f"terms {_name(before_id)} -> {_name(after_id)}"
        case PeriodTurned(_, period, index):
            words = f"period {index}: {_period(period, place)}"
        case Billed(_, period):
            words = f"billed: {_period(period, place)}"
        case Granted():
            withheld = f", {from_micro(effect.withheld_micro)} withheld" if effect.withheld_micro else ""
            until = f", until {_moment(effect.expires_at, place)}" if effect.expires_at < NEVER_AT else ""
            words = f"granted {from_micro(effect.amount_micro)} of {_name(effect.template.id)}{until}{withheld}"
        case BlocksFrozen():
            words = "blocks do not expire"
        case BlocksMoved(_, by_microseconds):
            words = f"blocks expire {by_microseconds // HOUR_MICROSECONDS} hours later"
        case RolloverHeld() | RolloverFreed() | RolloverLost():
            words = _OF_ROLLOVER[type(effect)]
        case Announced(_, notice):
            words = f"told: {notice}"
    return words


def _name(number: UUID) -> str:
    return NAMES[number.int]


def _period(period: Period, place: ZoneInfo) -> str:
    hours = (period.end_at - period.start_at) // HOUR_MICROSECONDS
    return f"{_moment(period.start_at, place)} to {_moment(period.end_at, place)}, {hours} hours"


def _moment(at: int, place: ZoneInfo) -> str:
    return f"{to_datetime(at).astimezone(place):%d %b %H:%M}"


def _clock(at: int, place: ZoneInfo) -> str:
    """With its distance from UTC, so that one sees the clocks change."""
    return f"{_moment(at, place)} {to_datetime(at).astimezone(place):%z}"


def _at(text: str, place: ZoneInfo) -> int:
    return to_at(datetime.strptime(f"{YEAR} {text}", "%Y %d %b %H:%M").replace(tzinfo=place))
