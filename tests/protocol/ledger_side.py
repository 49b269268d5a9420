"""The ledger's side of the model: what Postgres holds, posted to by the real `post_batch`. A call is a transaction."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import structs

from app.flusher.batch import post_batch
from app.flusher.posting import PostedEvent, Posting, RejectedEntry
from app.ledger.book import Account, Origin, Reservation, block_account, reserved_account
from app.ledger.targets import Targets
from app.orders.outcomes import Outcome, target_of
from app.rules import burndown, chain
from app.rules.boundaries import next_boundary
from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.rules.periods import Calendar, Counting, IntervalUnit, Period
from app.wire.events import StreamEntry, UnreadableEntry
from app.wire.orders import VoidUsage
from app.wire.reservations import ReservationExtension, ReservationOpening, ReservationState
from app.wire.snapshot import AccountState
from tests.wire.script_models import Reopened

if TYPE_CHECKING:
    from app.flusher.memory import Cursor

ENVIRONMENT = UUID(int=14)
TURN_AT = 40
"""When a period ends and the next begins, once in a run."""
CALENDAR = Calendar(TURN_AT, IntervalUnit.DAY, 1, "UTC")
BEGUN_AT = 1
"""Where the first period began: 0 would say that nothing is counted."""
FIRST = Counting(CALENDAR, Period(BEGUN_AT, TURN_AT))
"""How every account counts at first."""
CORE = Origin("core")
OPEN = ReservationState.OPEN
Entry = StreamEntry | UnreadableEntry


class Ledger:
    """All rows. `without` names the rules that are switched off."""

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self.without = without
        self.accounts: dict[bytes, Account] = {}
        self.events: dict[UUID, PostedEvent] = {}
        self.times_posted: Counter[UUID] = Counter()
        self.granted: dict[UUID, Block] = {}
        """Every block that ever was; those with credit left are in their account too."""
        self.voided: set[UUID] = set()
        self.outcomes: dict[UUID, Outcome] = {}
        """What became of orders."""
        self.times_ordered: Counter[UUID] = Counter()
        self.reservations: dict[UUID, Reservation] = {}
        self.reserved: Counter[str] = Counter()
        """What the ledger accounts of reservations hold."""
        self.moves: Counter[tuple[str, bool]] = Counter()
        """How often credit went into such an account (True) and out of it."""
        self.rejected: list[RejectedEntry] = []
        self.told: set[UUID] = set()
        """Events that an edge rejected: they are listed."""
        self.marks: dict[bytes, int] = {}
        """Dirty accounts and the revision that has still to be published."""
        self.cursor: Cursor | None = None
        self.owner = 0
        """The flusher that holds the lease."""

    def copy(self, without: frozenset[str]) -> "Ledger":
        """An independent copy."""
        twin = Ledger(without)
        twin.granted = {block_id: structs.replace(block) for block_id, block in self.granted.items()}
        twin.accounts = {ref: twin._own(account) for ref, account in self.accounts.items()}
        twin.voided, twin.outcomes = {*self.voided}, {**self.outcomes}
        twin.times_ordered = self.times_ordered.copy()
        twin.events, twin.times_posted = {**self.events}, self.times_posted.copy()
        twin.reservations, twin.reserved = {**self.reservations}, self.reserved.copy()
        twin.moves, twin.told = self.moves.copy(), {*self.told}
        twin.rejected, twin.marks = [*self.rejected], {**self.marks}
        twin.cursor, twin.owner = self.cursor, self.owner
        return twin

    def _own(self, account: Account) -> Account:
        """A copy of an account whose blocks are ours."""
        blocks = [self.granted[block.id] for block in account.blocks]
        return structs.replace(account, blocks=blocks, counters={**account.counters})

    def open(self, ref: bytes, account_id: UUID, total_applied: int = 0) -> None:
        """A new account, at revision 1."""
        account = Account(
            ENVIRONMENT, account_id, ref.decode(), 1, 0, 0, 0, total_applied, 0, chain.GENESIS, "s1", "none", []
        )
        account.counting = FIRST
        self.accounts[ref] = account
        self.marks[ref] = account.revision

    def grant(self, ref: bytes, block: Block) -> None:
        """Core adds a block: the edge knows it from the account's next revision on."""
        account = self.accounts[ref]
        own = self.granted[block.id] = structs.replace(block, granted_micro=block.remaining_micro)
        account.blocks = burndown.sort_blocks([*account.blocks, own])
        lines = [(block_account(block.id), block.remaining_micro), ("issued:topup", -block.remaining_micro)]
        account.post("grant", lines, block.granted_at, CORE)

    def change(self, ref: bytes, snapshot_id: str | None = None) -> None:
        """What every transaction of core ends with: the account is composed anew and marked."""
        account = self.accounts[ref]
        account.revision += 1
        account.snapshot_id = snapshot_id or account.snapshot_id
        self.marks[ref] = account.revision

    def post(self, entries: list[Entry]) -> list[AccountState]:
        """What the flusher writes of a batch; the figures that it publishes afterwards."""
        read = [entry for entry in entries if isinstance(entry, StreamEntry)]
        known = {(ENVIRONMENT, name) for entry in read if (name := _name(entry)) is not None and name in self.events}
        duplicates = [entry for entry in read if entry.payload and entry.payload.event_id in self.events]
        if "known" in self.without:
            entries = [structs.replace(e, revision=NEVER_AT) if isinstance(e, StreamEntry) else e for e in entries]
        if "reopens" in self.without:
            entries = [self._without_opening(entry) for entry in entries]
        if "charged" in self.without:
            known -= {(ENVIRONMENT, entry.reservation.reservation_id) for entry in read if entry.reservation}
        touched = {entry.ref: self.accounts[entry.ref] for entry in entries if entry.ref in self.accounts}
        posting = post_batch(
            touched, entries, set() if "dedupe" in self.without else known, self._targets(read, touched)
        )
        if "duplicates" in self.without:
            for entry in duplicates:
                touched[entry.ref].applied_micro -= entry.cost_micro
        self.events |= {event.id: event for event in posting.events}
        self.times_posted.update(event.id for event in posting.events)
        self.rejected += posting.rejected
        self.told |= {entry.sent.event_id for entry in read if entry.rejection and entry.sent}
        self._note_orders(posting)
        self._note_reservations(posting)
        for account in touched.values():
            account.blocks = [block for block in account.blocks if block.remaining_micro]
        return self.states(touched)

    def _without_opening(self, entry: Entry) -> Entry:
        """The entry, where it opens what has ended, as one that changes nothing."""
        opening = entry.reservation if isinstance(entry, StreamEntry) else None
        before = self.reservations.get(opening.reservation_id) if isinstance(opening, ReservationOpening) else None
        if opening is None or before is None or before.is_open:
            return entry
        nothing = ReservationExtension(reservation_id=opening.reservation_id, feature_key=opening.feature_key)
        return structs.replace(entry, reservation=nothing)

    def _targets(self, entries: list[StreamEntry], touched: dict[bytes, Account]) -> Targets:
        """What orders and reservations of the batch speak of."""
        ids = {account.id for account in touched.values()}
        void = [entry.order.event_id for entry in entries if isinstance(entry.order, VoidUsage)]
        events = {name: self.events[name] for name in void if name in self.events}
        known = set[UUID]() if "once" in self.without else {*self.outcomes}
        changed = [entry.reservation.reservation_id for entry in entries if entry.reservation is not None]
        reservations = {name: self.reservations[name] for name in changed if name in self.reservations}
        if "opened" in self.without:
            changes = [entry.reservation for entry in entries]
            opened = {change.reservation_id for change in changes if isinstance(change, ReservationOpening)}
            reservations = {name: one for name, one in reservations.items() if name not in opened}
        if "ended" in self.without:
            reservations = {name: structs.replace(one, state=OPEN) for name, one in reservations.items()}
        events = {event.id: event for event in events.values() if event.account_id in ids}
        return Targets(events, self.granted, {*self.voided}, known, reservations)

    def _note_orders(self, posting: Posting) -> None:
        self.granted |= {block.id: block for _, block in posting.made_blocks}
        for outcome in posting.outcomes:
            order = outcome.order
            self.outcomes[order.order_id] = outcome
            self.times_ordered[order.order_id] += 1
            target = target_of(order)
            if outcome.refused is None and target is not None:
                self.voided.add(target)

    def _note_reservations(self, posting: Posting) -> None:
        self.reservations |= {one.id: one for one in posting.reservations.values()}
        for transaction in posting.transactions:
            for name, amount in transaction.lines if transaction.kind.startswith("reservation") else ():
                if name.startswith("reserved:"):
                    self.reserved[name] += amount
                    self.moves[name, amount > 0] += 1

    def states(self, refs: Iterable[bytes]) -> list[AccountState]:
        """What is published of these accounts now."""
        return [self._state(ref, self.accounts[ref]) for ref in refs]

    def _state(self, ref: bytes, account: Account) -> AccountState:
        until = next_boundary(account.blocks) if "turn" in self.without else account.next_boundary()
        until = NEVER_AT if "tick" in self.without else until
        return AccountState(
            ref,
            account.revision,
            account.total_micro,
            account.applied_micro,
            until,
            account.begun_at(),
            account.snapshot_id,
            account.subscription_status,
            beside=account.beside(),
        )

    def clear_marks(self, states: Iterable[AccountState]) -> None:
        """These figures have been published."""
        for state in states:
            if self.marks.get(state.ref, NEVER_AT) <= state.revision:
                del self.marks[state.ref]

    def spendable(self, ref: bytes, at: int) -> int:
        """What can really be spent at a moment."""
        account = self.accounts[ref]
        return account.total_micro - sum(b.remaining_micro for b in account.blocks if b.expires_at <= at)

    def open_reservations(self, ref: bytes) -> tuple[Reopened, ...]:
        """What is open of an account, as it is loaded with it."""
        account_id = self.accounts[ref].id
        own = [one for one in self.reservations.values() if one.is_open and one.account_id == account_id]
        return tuple(Reopened(one.id, facts_of(one), one.reserved_micro, one.expires_at, _counted(one)) for one in own)

    def adds_up(self, ref: bytes) -> bool:
        """Whether the total is what the blocks hold less the debt, and what is reserved is what is open."""
        account, own = self.accounts[ref], self.open_reservations(ref)
        is_reserved = (account.reserved_micro, account.open_reservations) == (sum(o.reserved for o in own), len(own))
        return (
            is_reserved and account.total_micro == sum(b.remaining_micro for b in account.blocks) - account.debt_micro
        )

    def holds(self, reservation: Reservation) -> int:
        """What the reservation's own ledger account holds."""
        return self.reserved[reserved_account(reservation.id)]

    def summary(self, ref: bytes, at: int) -> tuple[object, ...]:
        """What must not depend on how far the flusher lags, less what has expired by `at`."""
        account = self.accounts[ref]
        blocks = [(block.id, block.remaining_micro) for block in account.blocks if block.expires_at > at]
        events = {
            e.id: (e.draws, e.debt_micro, e.cost_micro) for e in self.events.values() if e.account_id == account.id
        }
        orders = {o.order.order_id: o.refused for o in self.outcomes.values() if o.account_id == account.id}
        counters = {name: units for name, units in account.counters.items() if units}
        own = {one.id: _shown(one) for one in self.reservations.values() if one.account_id == account.id}
        return self.spendable(ref, at), account.debt_micro, blocks, events, orders, counters, own

    def counted(self, ref: bytes, feature_key: str, period_at: int) -> int:
        """Units of the feature in the period that began then."""
        return self.accounts[ref].counters.get((feature_key, period_at), 0)


def facts_of(reservation: Reservation) -> bytes:
    """What Redis holds of it, for its commit: see tests/protocol/reservations.py."""
    return b"%d:%d:%d" % (reservation.in_credits, reservation.units_micro, reservation.price_id.int)


def _counted(one: Reservation) -> tuple[int, int] | None:
    """Units that its opening counted, and in which period."""
    return None if one.period_at is None else (one.units_micro, one.period_at)


def _shown(one: Reservation) -> tuple[object, ...]:
    """What must not depend on lag. The account's numbers do, since events are grouped into transactions."""
    return (
        one.state,
        one.reserved_micro,
        one.draws,
        one.debt_micro,
        one.used_micro,
        one.opened_at,
        one.expires_at,
        one.ended_at,
    )


def _name(entry: StreamEntry) -> UUID | None:
    """Of the event that it is, or may become."""
    if entry.payload is not None:
        return entry.payload.event_id
    return None if entry.reservation is None else entry.reservation.reservation_id
