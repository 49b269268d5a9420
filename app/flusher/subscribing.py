"""What becomes of subscriptions, as postings: credit, what a pause sets aside, bills, history, and word of all of it.

What happens is decided by app/subscriptions/book.py; here it is carried out on the account, effect by effect.
"""

from app.flusher import telling
from app.flusher.grouping import UsageGroup
from app.flusher.posting import FLUSHER, Posting, TurnedPeriod
from app.flusher.tied_credit import TiedCredit
from app.ledger.book import DEBT, Account, Lines
from app.orders.outcomes import Refused, origin_of
from app.rules.effects import (
    Announced,
    Billed,
    BlocksFrozen,
    BlocksMoved,
    Effect,
    Granted,
    Notice,
    PeriodTurned,
    RolloverFreed,
    RolloverHeld,
    RolloverLost,
    StateChanged,
    TakenOver,
    TermsChanged,
)
from app.rules.lifecycle import TERMINAL, State
from app.rules.moments import hour_of, to_datetime
from app.rules.standstill import NO_STANDSTILL
from app.rules.subscriptions import Subscription
from app.rules.terms import BillingMode
from app.subscriptions.book import Customer, Happened
from app.subscriptions.history import Change
from app.subscriptions.schemas import ClosedPeriod, show_told
from app.trail.outbox import EventType
from app.web.amounts import Credits
from app.wire.orders import SubscriptionOrder


def post_next(posting: Posting, group: UsageGroup) -> None:
    """Post the step of the customer's subscriptions that is due first."""
    customer = posting.customers[group.account.id]
    _post(posting, group, customer, customer.advance())


def post_order(posting: Posting, group: UsageGroup, order: SubscriptionOrder, at: int) -> Refused | None:
    """Carry an order out; why not, where it changes nothing."""
    customer = posting.customers[group.account.id]
    happened = customer.carry_out(order, posting.named, at)
    if isinstance(happened, Refused):
        return happened
    _post(posting, group, customer, happened)
    group.next_boundary_at = group.account.next_boundary()
    return None


def _post(posting: Posting, group: UsageGroup, customer: Customer, happened: list[Happened]) -> None:
    group.close(posting)
    for each in happened:
        _Poster(posting, group.account, customer, each).post()
        if any(isinstance(effect, BlocksFrozen | BlocksMoved) for effect in each.effects):
            group.look_away()
    group.account.agenda_at = customer.next_at()


class _Poster:
    """Carries out the effects of one thing that happened."""

    def __init__(self, posting: Posting, account: Account, customer: Customer, happened: Happened) -> None:
        self._posting = posting
        self._account = account
        self._happened = happened
        self._kept = happened.kept
        by = happened.by
        self._origin = FLUSHER if by is None else origin_of(by)
        self._credit = TiedCredit(posting, account, customer, happened.kept, self._origin)
        self._closed: ClosedPeriod | None = None
        """The period that ends with it."""
        self._closed_at: int | None = None
        """Where it ends, as long as nobody sums up what was used in it."""

    def post(self) -> None:
        """Post all of it."""
        if self._happened.action is not None:
            self._remember(self._happened.action)
        for effect in self._happened.effects:
            self._carry_out(effect)
        if self._happened.before is None:
            self._posting.recompose[self._account.id] = self._happened.at
        if self._closed_at is not None:
            since = self._kept.counted_from
            self._sum_usage(self._closed_at if since is None else since, self._closed_at)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Granted():
                self._credit.grant(effect)
            case TakenOver():
                self._credit.take_over(effect.left_id, effect.at)
            case Billed():
                self._bill(effect)
            case BlocksFrozen() | BlocksMoved() | RolloverHeld() | RolloverFreed() | RolloverLost():
                self._credit.move(effect)
            case PeriodTurned():
                self._turn(effect)
            case StateChanged():
                self._change_state(effect)
            case TermsChanged():
                self._posting.recompose[self._account.id] = effect.at
            case Announced():
                self._announce(effect)

    def _bill(self, effect: Billed) -> None:
        """What the closed period leaves unpaid is for an invoice: no later credit pays it again.

        Debt is the customer's, so it is billed with the periods of what the customer is on, not of add-ons.
        """
        if not self._kept.is_base:
            return
        owed_micro, self._account.debt_micro = self._account.debt_micro, 0
        if owed_micro:
            lines: Lines = [(DEBT, owed_micro), ("billed", -owed_micro)]
            self._posting.transactions.append(self._account.post("overage_billed", lines, effect.at, self._origin))
        self._close(effect.period.end_at, owed_micro)

    def _close(self, end_at: int, billed_micro: int) -> None:
        """The period that ends; what was used in it is summed up once the batch is written."""
        since = self._kept.counted_from
        begun_at = self._kept.rules.period.start_at if since is None else since
        self._closed = ClosedPeriod(to_datetime(begun_at), to_datetime(end_at), Credits(billed_micro))
        self._closed_at = end_at

    def _turn(self, effect: PeriodTurned) -> None:
        """Units are counted anew, and so is what is used; a prepaid period that ends is closed without a bill."""
        begins_at, since = effect.period.start_at, self._kept.counted_from
        self._posting.recompose[self._account.id] = effect.at
        if self._kept.is_base:
            self._turn_usage(begins_at, since)
        self._kept.counted_from = begins_at

    def _turn_usage(self, begins_at: int, since: int | None) -> None:
        before = self._happened.before
        if before is not None and _is_closed(before):  # so what was used since then is of the period that begins
            if hour_of(begins_at) != hour_of(before.period.end_at):
                self._kept.used_before = []
            return
        if since is not None and self._closed is None:
            self._close(begins_at, 0)
        self._sum_usage(begins_at if since is None else since, begins_at)

    def _sum_usage(self, since_at: int, at: int) -> None:
        used = len(self._posting.used)
        turned = TurnedPeriod(self._account, self._kept, since_at, at, used, self._closed)
        self._posting.turned_periods.append(turned)
        self._closed_at = None

    def _change_state(self, effect: StateChanged) -> None:
        self._posting.recompose[self._account.id] = effect.at
        self._note_course(effect)
        if effect.after in TERMINAL:
            self._credit.end_rollover()

    def _note_course(self, effect: StateChanged) -> None:
        """For what comes back in the same batch."""
        course, before = self._posting.courses.get(self._kept.id, NO_STANDSTILL), self._happened.before
        if effect.after is State.PAUSED:
            course = course.stopped(effect.at)
        elif effect.before is State.PAUSED and before is not None and before.paused_at is not None:
            course = course.resumed(before.paused_at, effect.at)
        self._posting.courses[self._kept.id] = course

    def _remember(self, action: str) -> None:
        kept, before = self._kept, self._happened.before
        kept.changes += 1
        by = self._happened.by
        if by is not None and by.subscription_id != kept.id:  # it makes way, and what was asked for is another one's
            by = None
        self._posting.history.append(
            Change(
                self._account.environment_id,
                kept.id,
                kept.changes,
                to_datetime(self._happened.at),
                action,
                None if before is None else before.state.value,
                kept.rules.state.value,
                None if before is None else before.terms.version_id,
                kept.rules.terms.version_id,
                self._origin.actor,
                self._origin.reason,
                None if by is None else by.payment_reference,
                self._origin.idempotency_key,
                None if by is None else by.variant_id,
            )
        )

    def _announce(self, effect: Announced) -> None:
        """Word of what is to come closes nothing, also where it comes in the step that closed a period."""
        closed = None if effect.notice in {Notice.TRIAL_ENDING, Notice.RENEWAL_DUE} else self._closed
        told = show_told(self._account.end_user_id, self._kept, closed)
        what = EventType(f"subscription.{effect.notice.value}")
        of = self._kept.id.hex.encode(), b"%d" % self._kept.changes
        telling.announce(self._posting, self._account, what, told, effect.at, *of)


def _is_closed(subscription: Subscription) -> bool:
    """Whether what it was billed for was closed when it fell overdue."""
    return subscription.state is State.OVERDUE and subscription.terms.billing_mode is BillingMode.POSTPAID
