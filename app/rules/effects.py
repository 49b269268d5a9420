"""What follows from a step of a subscription, as data: the caller posts, writes and tells it in this order."""

from enum import StrEnum
from uuid import UUID

import msgspec

from app.rules.lifecycle import Action, State
from app.rules.periods import Period
from app.rules.terms import GrantTemplate


class Notice(StrEnum):
    """What the tenant is told; the names are those of events, after `subscription.`."""

    CREATED = "created"
    UPDATED = "updated"
    TRIAL_ENDING = "trial_ending"
    RENEWAL_DUE = "renewal_due"
    RENEWED = "renewed"
    OVERDUE = "overdue"
    EXPIRED = "expired"
    UPGRADED = "upgraded"
    DOWNGRADED = "downgraded"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCELED = "canceled"
    FELL_BACK = "fell_back"


class StateChanged(msgspec.Struct, frozen=True):
    """It stands elsewhere now. Where `after` is terminal, the customer falls back to the free plan."""

    at: int
    action: Action
    before: State
    after: State


class TermsChanged(msgspec.Struct, frozen=True):
    """Other terms hold."""

    at: int
    before_id: UUID
    after_id: UUID


class Billed(msgspec.Struct, frozen=True):
    """A postpaid period is closed, here or where it was cut short: its debt is billed, before anything is granted."""

    at: int
    period: Period


class PeriodTurned(msgspec.Struct, frozen=True):
    """A period begins, with this index."""

    at: int
    period: Period
    period_index: int


class Granted(msgspec.Struct, frozen=True):
    """Credit of a template, at most once for each (template, key_at).

    Of a template that is given once, at most once for a customer.
    """

    at: int
    """When it becomes effective."""
    template: GrantTemplate
    key_at: int
    """Where its cycle begins; where it is what a change gives in the middle of a cycle, the moment of the change."""
    amount_micro: int
    withheld_micro: int
    """What is left out of it, as it was given ahead."""
    expires_at: int
    rollover_until_at: int
    """Where the cycle after this one ends; of one that is given once, where it expires itself."""
    is_tied: bool
    """It expires with its cycle, so a pause moves it."""
    is_part: bool = False
    """It is what a change gives in the middle of a cycle: at most once for each change, beside what the cycle gives."""


class TakenOver(msgspec.Struct, frozen=True):
    """The customer has come back to the free plan: what it gave by the subscription with which they left is of this."""

    at: int
    left_id: UUID


class BlocksFrozen(msgspec.Struct, frozen=True):
    """Blocks that are tied to the subscription's time do not expire while it stands still."""

    at: int


class BlocksMoved(msgspec.Struct, frozen=True):
    """It stands still no more: blocks that are tied to its time expire so much later than they would have."""

    at: int
    by_microseconds: int


class RolloverHeld(msgspec.Struct, frozen=True):
    """What rolled over into a period that is not paid for waits until it is."""

    at: int


class RolloverFreed(msgspec.Struct, frozen=True):
    """The period is paid for: what waited for that comes, as far as it has not expired meanwhile."""

    at: int


class RolloverLost(msgspec.Struct, frozen=True):
    """The period does not come: what has rolled over into it, since `since_at` and before, expires."""

    at: int
    since_at: int


class Announced(msgspec.Struct, frozen=True):
    """The tenant is told."""

    at: int
    notice: Notice


Effect = (
    StateChanged
    | TermsChanged
    | Billed
    | PeriodTurned
    | Granted
    | TakenOver
    | BlocksFrozen
    | BlocksMoved
    | RolloverHeld
    | RolloverFreed
    | RolloverLost
    | Announced
)
