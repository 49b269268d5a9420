"""What Postgres holds of one account whose customer has subscriptions, and a flusher that posts to it: all in memory.

Between batches everything that is kept as JSON is written and read again, as app/subscriptions/store.py does.
"""

from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest.mock import patch
from uuid import UUID

import msgspec
from msgspec import structs

from app.flusher.batch import MOST_DUE, post_batch
from app.flusher.closing import Sums, close_periods
from app.flusher.posting import Posting
from app.ledger import store as ledger_store
from app.ledger.book import TakenOverCredit, Transaction, UsedInHour
from app.ledger.targets import Targets
from app.orders.outcomes import Refused
from app.rules.agenda import next_at
from app.rules.burndown import Block, Terms, Tie, sort_blocks
from app.rules.lifecycle import TERMINAL, State
from app.rules.moments import NEVER_AT, to_at
from app.rules.standstill import Course, place_of
from app.rules.subscriptions import Subscription
from app.rules.terms import SubscriptionTerms
from app.subscriptions.book import Customer, Happened, Kept, Named, Subscribers
from app.subscriptions.history import Change
from app.subscriptions.payments import Paid
from app.subscriptions.store import WITH_CREDIT_ASIDE
from app.trail.outbox import Announcement, EventType
from app.web.amounts import encode_amount
from app.wire.events import StreamEntry
from app.wire.orders import SubscriptionOrder, VoidGrant, VoidUsage
from tests.flusher.batch_subjects import ENVIRONMENT
from tests.flusher.test_lag_laws import REF, Rows

OF_CREDIT = {
    EventType.CREDITS_LOW,
    EventType.CREDITS_DEPLETED,
    EventType.USAGE_OVERAGE,
    EventType.RESERVATION_EXPIRED,
}
_kept = msgspec.json.Decoder(Kept)


@dataclass(frozen=True)
class Catalogue:
    """The newest terms of each variant, and the free plan."""

    terms: dict[UUID, SubscriptionTerms]
    free: SubscriptionTerms | None
    zone: str


class Seen(NamedTuple):
    """One thing that happened, and how the subscription stood directly after it."""

    happened: Happened
    after: Subscription


class Watched(Customer):
    """Notes what happens."""

    seen: list[Seen] = msgspec.field(default_factory=list)

    def advance(self) -> list[Happened]:
        """What it does, noted."""
        happened = super().advance()
        self.seen += [Seen(each, each.kept.rules) for each in happened]
        return happened

    def carry_out(self, order: SubscriptionOrder, named: Named, at: int) -> list[Happened] | Refused:
        """What it does, noted."""
        happened = super().carry_out(order, named, at)
        if not isinstance(happened, Refused):
            self.seen += [Seen(each, each.kept.rules) for each in happened]
        return happened


@dataclass
class SubscriberRows(Rows):
    """The rows, and in the order in which they came, all that was ever written."""

    catalogue: Catalogue = field(default_factory=lambda: Catalogue({}, None, "UTC"))
    table: dict[UUID, bytes] = field(default_factory=dict)
    """Subscriptions, as JSON."""
    transactions: list[Transaction] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    announcements: list[Announcement] = field(default_factory=list)
    made: list[UUID] = field(default_factory=list)
    """Blocks that were made, as often as they were."""
    hours: list[UsedInHour] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    most_due: int = MOST_DUE
    """Where ticks stop."""

    def subscriptions(self) -> list[Kept]:
        """In the order in which the table gives them."""
        rows = [_kept.decode(row) for row in self.table.values()]
        return sorted(rows, key=lambda kept: (kept.created_at, kept.id))

    def post(self, entries: list[StreamEntry]) -> Posting:
        """Post a batch as the flusher does, and write what comes of it."""
        self.account.blocks = sort_blocks(
            structs.replace(b) for b in self.blocks.values() if b.remaining_micro or b.is_scheduled
        )
        ids = [e.payload.event_id for e in entries if e.payload]
        ids += [e.reservation.reservation_id for e in entries if e.reservation]
        posted = {(ENVIRONMENT, one) for one in ids if one in self.events}
        named = self.targets(entries)
        subscribers = self._subscribers(entries, named)
        posting = post_batch({REF: self.account}, [*entries], posted, named, subscribers, most_due=self.most_due)
        is_due = self.account.next_boundary() <= max(entry.accepted_at for entry in entries)
        assert posting.unfinished == ({self.account.id} if is_due else set())
        self._write(posting)
        for customer in posting.customers.values():
            assert isinstance(customer, Watched)
            self.seen += customer.seen
            changed = customer.changed.values()
            self.table |= {kept.id: msgspec.json.encode(kept, order="deterministic") for kept in changed}
        self._look()
        return posting

    def targets(self, entries: list[StreamEntry]) -> Targets:
        """What orders and reservations speak of, and what became of the time to which its credit is tied."""
        found = super().targets(entries)
        ties = [block.terms.tie for block in found.blocks.values() if block.terms and block.terms.tie]
        found.courses = {tie.subscription_id: self._course(tie.subscription_id) for tie in ties if tie.is_moved}
        return found

    def _course(self, subscription_id: UUID) -> Course:
        course, overdue_at = Course(), 0
        for change in self.history:
            if change.subscription_id != subscription_id or change.state_before == change.state_after:
                continue
            if change.state_after == State.PAUSED:
                course = course.stopped(to_at(change.at))
            elif change.state_before == State.PAUSED:
                course = course.resumed(course.standstills[-1].since_at, to_at(change.at))
            elif change.state_after == State.OVERDUE:
                overdue_at = to_at(change.at)
            elif change.state_before == State.OVERDUE and State(change.state_after) in TERMINAL:
                course = course.lost(overdue_at)
        return course

    def lost_at(self, block: Block) -> int:
        """What app/ledger/sql/read_all_blocks.sql says of it."""
        tie = None if block.terms is None else block.terms.tie
        if tie is None or not place_of(block, self._course(tie.subscription_id)).is_lost:
            return NEVER_AT
        return max(to_at(change.at) for change in self.history if change.subscription_id == tie.subscription_id)

    def _subscribers(self, entries: Sequence[StreamEntry], named: Targets) -> Subscribers:
        """What app/subscriptions/reading.py reads for the batch."""
        orders = [entry.order for entry in entries if isinstance(entry.order, SubscriptionOrder)]
        is_due = self.account.agenda_at <= max(entry.accepted_at for entry in entries)
        is_due |= any(isinstance(entry.order, VoidUsage) for entry in entries)
        is_due |= any(_kept.decode(self.table[key]).rules.state in WITH_CREDIT_ASIDE for key in named.courses)
        if not is_due and not orders:
            return Subscribers()
        names, catalogue = (ENVIRONMENT, self.account.id, self.account.end_user_id), self.catalogue
        customer = Watched(*names, catalogue.zone, catalogue.free, self.subscriptions())
        asked = {order.payment_reference for order in orders}
        payments = {
            (ENVIRONMENT, change.payment_reference): self._paid(change)
            for change in self.history
            if change.payment_reference is not None and change.payment_reference in asked
        }
        return Subscribers({self.account.id: customer}, Named({**catalogue.terms}, payments))

    def _paid(self, paid: Change) -> Paid:
        """What app/subscriptions/sql/find_payments.sql says of a payment."""
        names = {terms.version_id: terms.name.variant_id for terms in self.catalogue.terms.values()}
        later = [c for c in self.history if c.subscription_id == paid.subscription_id and c.number > paid.number]
        came = paid.variant_asked in {names.get(each.version_after) for each in later}
        return Paid(paid.subscription_id, paid.action, paid.variant_asked, came)

    def _write(self, posting: Posting) -> None:
        """All that a batch writes but for subscriptions, which closing the periods changes too."""
        self.transactions += posting.transactions
        self.made += [block.id for _, block in posting.made_blocks]
        changed = [block for _, block in posting.changed_blocks.values()]
        for block in [*[block for _, block in posting.made_blocks], *changed, *self.account.blocks]:
            self.blocks[block.id] = structs.replace(block)
        for _, block in posting.retermed_blocks:  # what is left of it is in another copy, perhaps
            self.blocks[block.id].terms = block.terms
        for each in posting.taken_over:
            self._take_over(each)
        for _, _, subscription_id in posting.ended_subscriptions:
            self._end_rollover(subscription_id)
        self.events |= {event.id: event for event in posting.events}
        self.outcomes |= {outcome.order.order_id: outcome for outcome in posting.outcomes}
        self.reservations |= {one.id: one for one in posting.reservations.values()}
        self.hours += posting.used
        self.history += posting.history
        with patch.object(ledger_store, "sum_hours_since", self._sum_hours_since):
            _run(close_periods(None, posting))  # type: ignore[arg-type] # nothing is asked of it
        self.announcements += posting.announcements

    def _take_over(self, credit: TakenOverCredit) -> None:
        """What app/ledger/sql/take_over.sql does."""
        for block, terms, tie in self._spent_of(credit.left_id):
            if block.effective_at >= credit.effective_from and block.expires_at == credit.expires_at:
                rollover = None if terms.rollover is None else structs.replace(terms.rollover, is_off=False)
                taken = structs.replace(tie, subscription_id=credit.subscription_id)
                block.terms = structs.replace(terms, rollover=rollover, tie=taken)

    def _end_rollover(self, subscription_id: UUID) -> None:
        """What app/ledger/sql/end_rollover.sql does."""
        for block, terms, _ in self._spent_of(subscription_id):
            if terms.rollover is not None:
                block.terms = structs.replace(terms, rollover=structs.replace(terms.rollover, is_off=True))

    def _spent_of(self, subscription_id: UUID) -> list[tuple[Block, Terms, Tie]]:
        found = [(b, b.terms, b.terms.tie) for b in self.blocks.values() if b.terms and b.terms.tie]
        return [each for each in found if each[2].subscription_id == subscription_id and not each[0].remaining_micro]

    async def _sum_hours_since(self, _: object, asked: Sequence[tuple[UUID, UUID, int]]) -> list[Sums]:
        sums: list[Sums] = []
        for _environment, _account, since_at in asked:
            found: Sums = {}
            for hour in self.hours:
                if hour.hour_at >= since_at:
                    before = found.get(hour.feature_key, [0, 0, 0])
                    added = hour.units_micro, hour.cost_micro, hour.events
                    found[hour.feature_key] = [a + b for a, b in zip(before, added, strict=True)]
            sums.append(found)
        return sums

    def _look(self) -> None:
        """What must hold after every batch, since the tables or the next batch ask for it, or the customer."""
        kept = self.subscriptions()
        assert self.account.agenda_at == min((next_at(each.rules) for each in kept), default=NEVER_AT)
        bases = [each.rules.state for each in kept if each.is_base and not each.is_terminal]
        assert len([state for state in bases if state is State.SCHEDULED]) <= 1, bases
        assert len([state for state in bases if state is not State.SCHEDULED]) <= 1, bases
        ties = {b.terms.tie for b in self.blocks.values() if b.remaining_micro and b.terms and b.terms.tie}
        moved = {tie.subscription_id for tie in ties if tie.is_moved}
        assert not {each.id for each in kept if each.rules.state is State.PAUSED} & moved
        done = [outcome.order for outcome in self.outcomes.values() if outcome.refused is None]
        voided = {order.block_id for order in done if isinstance(order, VoidGrant)}
        assert not {block.id for each in kept for block in each.set_aside} & voided

    def summary(self) -> dict[str, object]:
        """All that must not depend on the lag."""
        return {
            "figures": (self.account.total_micro, self.account.debt_micro, self.account.agenda_at),
            "blocks": {
                key: (
                    b.granted_micro,
                    b.remaining_micro,
                    b.effective_at,
                    b.expires_at,
                    b.terms if b.remaining_micro else 0,
                )
                for key, b in self.blocks.items()
            },
            "events": {key: (event.draws, event.debt_micro) for key, event in self.events.items()},
            "reservations": {
                key: structs.replace(r, opened_seq=0, ended_seq=0) for key, r in self.reservations.items()
            },
            "outcomes": {key: outcome.refused for key, outcome in self.outcomes.items()},
            "subscriptions": {key: msgspec.json.decode(row) for key, row in self.table.items()},
            "history": self.history,
            "announcements": [_told(each) for each in self.announcements],
            "moved": self._moved(),
        }

    def _moved(self) -> Counter[str]:
        """What of each transaction must not depend on how usage is grouped, nor on when a debt is paid."""
        fixed = [t for t in self.transactions if t.kind not in {"usage", "debt_payment"}]
        return Counter(str((t.kind, t.posted_at, t.actor, t.reason, sorted(t.lines))) for t in fixed)


def _told(announcement: Announcement) -> bytes:
    """Word as it goes out. That of credit is named by its transaction, which lag may number otherwise."""
    if announcement.type in OF_CREDIT:
        announcement = structs.replace(announcement, id=UUID(int=0))
    return msgspec.json.encode(announcement, enc_hook=encode_amount)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run what waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    message = "it waits for something"
    raise AssertionError(message)
