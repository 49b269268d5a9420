"""Accounts and entries for the tests of `post_batch`, made from few words."""

from uuid import UUID

from app.flusher.batch import post_batch
from app.flusher.posting import Entries, Posting
from app.ledger.book import Account, PostedEvent, Reservation
from app.ledger.targets import Targets
from app.rules import burndown, chain
from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.wire import keys
from app.wire.events import EntryKind, StreamEntry, UnreadableEntry, UsagePayload
from app.wire.reservations import (
    ReservationChange,
    ReservationEnd,
    ReservationExtension,
    ReservationOpening,
    ReservationState,
)

ENVIRONMENT = UUID(int=14)
PRICE = UUID(int=1)


def ref_of(name: str) -> bytes:
    """The ref of an end user."""
    return keys.account_ref(keys.environment_ref(ENVIRONMENT), name)


def make_account(name: str, blocks: list[Block], applied_micro: int = 0) -> Account:
    """An account with these blocks and no history."""
    total = sum(block.remaining_micro for block in blocks)
    account_id = UUID(int=sum(name.encode()))
    ordered = burndown.sort_blocks(blocks)
    return Account(ENVIRONMENT, account_id, name, 1, 0, total, 0, applied_micro, 0, chain.GENESIS, "s", "none", ordered)


def make_block(number: int, amount_micro: int, expires_at: int = NEVER_AT, known_revision: int = 1) -> Block:
    """A free block, effective from the start; lower numbers are spent first where nothing else decides."""
    return Block(
        UUID(int=number),
        amount_micro,
        100,
        paid=False,
        known_revision=known_revision,
        effective_at=0,
        expires_at=expires_at,
        granted_at=0,
        granted_micro=amount_micro,
    )


def usage(name: str, event: int, cost_micro: int, at: int, revision: int = 1) -> StreamEntry:
    """A usage entry."""
    payload = UsagePayload(UUID(int=event), "f", 1, PRICE, None, f"key {event}", '{"a": 1}')
    return StreamEntry((at, event), ref_of(name), EntryKind.USAGE, at, revision, cost_micro, payload)


def tick(name: str, at: int, revision: int = 1) -> StreamEntry:
    """A tick."""
    return StreamEntry((at, 0), ref_of(name), EntryKind.TICK, at, revision, 0, None)


def opening(
    name: str, number: int, cost_micro: int, at: int, revision: int = 1, *, due_at: int = NEVER_AT
) -> StreamEntry:
    """Credit is reserved, under a small number."""
    change = ReservationOpening(
        reservation_id=UUID(int=number),
        feature_key="f",
        units_micro=cost_micro,
        in_credits=False,
        price_id=PRICE,
        idempotency_key=f"key {number}",
        properties='{"a": 1}',
        expires_at=due_at,
    )
    return _change(name, change, cost_micro, at, revision)


def extension(name: str, number: int, due_at: int, at: int, revision: int = 1) -> StreamEntry:
    """A reservation is to fall due later."""
    change = ReservationExtension(reservation_id=UUID(int=number), feature_key="f", expires_at=due_at)
    return _change(name, change, 0, at, revision)


def ending(
    name: str, number: int, state: ReservationState, at: int, revision: int = 1, *, used_micro: int = 0
) -> StreamEntry:
    """A reservation ends. Of its cost the ledger only notes that it was applied."""
    is_commit = state is ReservationState.COMMITTED
    change = ReservationEnd(
        reservation_id=UUID(int=number),
        feature_key="f",
        state=state,
        units_micro=used_micro,
        price_id=PRICE if is_commit else None,
        used_micro=used_micro,
    )
    return _change(name, change, -1, at, revision)


def _change(name: str, change: ReservationChange, cost_micro: int, at: int, revision: int) -> StreamEntry:
    place, ref = (at, change.reservation_id.int % 1_000), ref_of(name)
    return StreamEntry(place, ref, EntryKind.RESERVATION, at, revision, cost_micro, None, reservation=change)


def unreadable(name: str, cost_micro: int) -> UnreadableEntry:
    """An entry that nobody can post."""
    return UnreadableEntry((1, 1), ref_of(name), cost_micro, "KeyError: b'k'", {b"a": ref_of(name)})


class Ledger:
    """Accounts that batches are posted to, and everything that came out."""

    def __init__(self, accounts: list[Account]) -> None:
        self.accounts = {ref_of(account.end_user_id): account for account in accounts}
        self.postings: list[Posting] = []
        self._posted: set[tuple[UUID, UUID]] = set()
        self.opened: dict[tuple[UUID, int], Reservation] = {}
        """Each time that a reservation was opened, by its id and the seq of that."""
        self._blocks = {block.id: block for account in accounts for block in account.blocks}
        self._events: dict[UUID, PostedEvent] = {}
        self._voided: set[UUID] = set()

    @property
    def reservations(self) -> dict[UUID, Reservation]:
        """Each as it was opened last."""
        return {key: self.opened[key, seq] for key, seq in sorted(self.opened)}

    def post(self, entries: Entries, size: int = 1_000, targets: Targets | None = None) -> "Ledger":
        """Post in batches of at most `size` entries, each as the flusher does: only what it names, with live blocks."""
        for start in range(0, len(entries), size):
            batch = entries[start : start + size]
            named = {entry.ref: self.accounts[entry.ref] for entry in batch if entry.ref in self.accounts}
            for account in named.values():
                account.blocks = [block for block in account.blocks if block.remaining_micro]
            known = targets or Targets({**self._events}, self._blocks, self._voided, set(), self.reservations)
            posting = post_batch(named, batch, set(self._posted), known)
            self.opened |= posting.reservations
            self._events |= {event.id: event for event in posting.events}
            self._blocks |= {block.id: block for _, block in posting.made_blocks}
            self._posted |= {(ENVIRONMENT, event.id) for event in posting.events}
            self.postings.append(posting)
        return self
