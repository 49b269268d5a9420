"""Laws of posting: the ledger depends on the entries alone, adds up, and nothing stops it."""

from collections import Counter
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.flusher.batch import UNKNOWN_CUSTOMER, UNREADABLE
from app.flusher.posting import Entries
from app.ledger.book import DEBT, Account, PostedEvent, Reservation, Transaction, block_account, reserved_account
from app.rules import chain
from app.rules.burndown import Block, is_eligible
from app.rules.moments import NEVER_AT
from app.wire.events import EntryKind, StreamEntry, UnreadableEntry
from app.wire.reservations import ReservationEnd, ReservationState
from tests.flusher.batch_subjects import (
    Ledger,
    ending,
    extension,
    make_account,
    opening,
    ref_of,
    tick,
    unreadable,
    usage,
)
from tests.rules.laws import LAW

NAMES = ("ada", "bob")
STRANGER = "nobody"
LAST_AT = 30
moments, revisions, costs = st.integers(1, LAST_AT), st.integers(1, 3), st.integers(0, 120)
names = st.sampled_from([*NAMES, *NAMES, *NAMES, STRANGER])
blocks = st.lists(
    st.builds(
        Block,
        id=st.integers(1, 10**6).map(lambda number: UUID(int=number)),
        remaining_micro=st.integers(1, 200),
        priority=st.sampled_from([50, 100]),
        paid=st.booleans(),
        known_revision=st.integers(1, 4),
        effective_at=st.sampled_from([0, 0, 10]),
        expires_at=st.one_of(st.just(NEVER_AT), st.integers(5, LAST_AT)),
        granted_at=st.integers(0, 3),
    ),
    max_size=5,
    unique_by=lambda block: block.id,
)
ids = st.integers(1, 12)
ends = st.sampled_from([ReservationState.COMMITTED, ReservationState.RELEASED, ReservationState.EXPIRED])
entries = st.one_of(
    st.builds(usage, names, ids, costs, moments, revisions),
    st.builds(opening, names, ids, costs, moments, revisions),
    st.builds(extension, names, ids, moments, moments, revisions),
    st.builds(ending, names, ids, ends, moments, revisions, used_micro=costs),
    st.builds(tick, names, moments, revisions),
    st.builds(unreadable, names, costs),
)


def in_order(batch: Entries) -> Entries:
    """As scripts leave them: accepted times and revisions do not go back."""
    times = iter(sorted(entry.accepted_at for entry in batch if isinstance(entry, StreamEntry)))
    known = iter(sorted(entry.revision for entry in batch if isinstance(entry, StreamEntry)))
    return [
        structs.replace(entry, accepted_at=next(times), revision=next(known))
        if isinstance(entry, StreamEntry)
        else entry
        for entry in batch
    ]


streams = st.lists(entries, max_size=25).map(in_order)
any_streams = st.lists(entries, max_size=25)
"""Even in an order that no script leaves."""
starts = st.tuples(blocks, blocks)


def begin(start: tuple[list[Block], list[Block]]) -> Ledger:
    """A ledger with the accounts of NAMES, their blocks granted."""
    accounts: list[Account] = []
    for name, owned in zip(NAMES, start, strict=True):
        account = make_account(name, [structs.replace(block) for block in owned])
        accounts.append(account)
    return Ledger(accounts)


def outcome(ledger: Ledger) -> object:
    """Everything that may not depend on how entries are cut into batches."""
    accounts = [
        (
            a.total_micro,
            a.debt_micro,
            a.applied_micro,
            [(b.id, b.remaining_micro) for b in a.blocks if b.remaining_micro],
        )
        for a in ledger.accounts.values()
    ]
    events = [structs.replace(event, seq=0) for posting in ledger.postings for event in posting.events]
    rejected = [entry for posting in ledger.postings for entry in posting.rejected]
    dated = [(t.account_id, t.kind, t.lines, t.posted_at) for t in transactions(ledger) if t.kind != "usage"]
    return accounts, sorted(events, key=lambda event: event.id), rejected, Counter(map(str, dated))


def transactions(ledger: Ledger) -> list[Transaction]:
    """All, in the order of posting."""
    return [transaction for posting in ledger.postings for transaction in posting.transactions]


def events_of(ledger: Ledger, account: Account) -> list[PostedEvent]:
    """The account's events."""
    return [e for posting in ledger.postings for e in posting.events if e.account_id == account.id]


@LAW
@given(starts, any_streams)
def test_batch_size_does_not_matter(start: tuple[list[Block], list[Block]], stream: Entries) -> None:
    """40, 41: one by one, by seven or all at once: the same draws, debts, remainders, totals and rejections."""
    at_once = outcome(begin(start).post(stream))
    assert outcome(begin(start).post(stream, size=7)) == at_once
    assert outcome(begin(start).post(stream, size=1)) == at_once


@LAW
@given(starts, any_streams, st.sampled_from([1, 4, 1_000]))
def test_books_balance(start: tuple[list[Block], list[Block]], stream: Entries, size: int) -> None:
    """1, 3, 5: lines sum to zero; the total is what the blocks hold less the debt; no block goes below zero."""
    ledger = begin(start).post(stream, size)
    assert all(sum(amount for _, amount in transaction.lines) == 0 for transaction in transactions(ledger))
    assert all(amount for transaction in transactions(ledger) for _, amount in transaction.lines)
    for account in ledger.accounts.values():
        assert account.total_micro == sum(block.remaining_micro for block in account.blocks) - account.debt_micro
        assert account.debt_micro >= 0
        assert all(block.remaining_micro >= 0 for block in account.blocks)


@LAW
@given(starts, any_streams, st.sampled_from([1, 4, 1_000]))
def test_lines_tell_what_became_of_each_block(
    start: tuple[list[Block], list[Block]], stream: Entries, size: int
) -> None:
    """4, 13: replaying the lines gives every block and the debt exactly; and every changed block is named."""
    ledger = begin(start).post(stream, size)
    for account, owned in zip(ledger.accounts.values(), start, strict=True):
        gains: Counter[str] = Counter()
        for transaction in transactions(ledger):
            if transaction.account_id == account.id:
                gains.update(dict(transaction.lines))
        left = {block.id: block.remaining_micro for block in account.blocks}
        assert {b.id: b.remaining_micro + gains[block_account(b.id)] for b in owned} == {
            b.id: left.get(b.id, 0) for b in owned
        }
        assert account.debt_micro == -gains[DEBT]
    changed = {block_id for posting in ledger.postings for block_id in posting.changed_blocks}
    named = {name for transaction in transactions(ledger) for name, _ in transaction.lines if name.startswith("block:")}
    assert {block_account(block_id) for block_id in changed} == named


@LAW
@given(starts, any_streams, st.sampled_from([1, 4, 1_000]))
def test_transactions_are_chained(start: tuple[list[Block], list[Block]], stream: Entries, size: int) -> None:
    """9-12: seq without gaps, each total after the one before, times that do not go back, hashes that follow."""
    ledger = begin(start).post(stream, size)
    for account in ledger.accounts.values():
        own = [transaction for transaction in transactions(ledger) if transaction.account_id == account.id]
        assert [transaction.seq for transaction in own] == list(range(1, account.seq + 1))
        assert all(a.total_after_micro == b.total_before_micro for a, b in pairwise(own))
        assert all(a.posted_at <= b.posted_at for a, b in pairwise(own))
        assert all(a.hash == b.previous_hash for a, b in pairwise(own))
        assert all(transaction.hash == hash_of(transaction) for transaction in own)
        assert account.head_hash == (own[-1].hash if own else chain.GENESIS)
        for transaction in own:
            events = [event for event in events_of(ledger, account) if event.seq == transaction.seq]
            digest = chain.events_digest(event.chained() for event in events) if events else None
            if transaction.kind == "reservation_opened":
                [opened] = [r for r in held_by(ledger, account) if r.opened_seq == transaction.seq]
                digest = chain.reservation_digest(opened.chained())
            assert transaction.events_digest == digest


def held_by(ledger: Ledger, account: Account) -> list[Reservation]:
    """The account's reservations, open and ended, each as often as it was opened."""
    return [r for r in ledger.opened.values() if r.account_id == account.id]


def hash_of(transaction: Transaction) -> bytes:
    """Its hash, worked out from what its row holds."""
    return chain.transaction_hash(
        transaction.previous_hash,
        chain.ChainedTransaction(
            transaction.environment_id.bytes,
            transaction.account_id.bytes,
            transaction.seq,
            transaction.id.bytes,
            transaction.kind,
            chain.text_digest(transaction.actor) or b"",
            chain.text_digest(transaction.reason),
            chain.text_digest(transaction.idempotency_key),
            transaction.total_before_micro,
            transaction.total_after_micro,
            transaction.posted_at,
            transaction.lines,
            transaction.events_digest,
        ),
    )


@LAW
@given(starts, any_streams)
def test_events_say_what_they_drew(start: tuple[list[Block], list[Block]], stream: Entries) -> None:
    """7: draws and debt sum to the cost; together they are what usage took from each block."""
    ledger = begin(start).post(stream)
    for account in ledger.accounts.values():
        drawn: Counter[str] = Counter()
        for event in events_of(ledger, account):
            assert sum(amount for _, amount in event.parsed_draws()) + event.debt_micro == event.cost_micro
            if any(r.id == event.id and r.state is ReservationState.COMMITTED for r in ledger.opened.values()):
                continue  # its draws are those of the opening
            drawn.update({block_account(block_id): amount for block_id, amount in event.parsed_draws()})
        own = [t for t in transactions(ledger) if t.account_id == account.id and t.kind == "usage"]
        lines = [line for transaction in own for line in transaction.lines]
        assert drawn == Counter(
            {name: sum(-a for n, a in lines if n == name) for name, _ in lines if name.startswith("block:")}
        )


@LAW
@given(starts, any_streams, st.sampled_from([1, 4, 1_000]))
def test_what_is_reserved_is_accounted_for(start: tuple[list[Block], list[Block]], stream: Entries, size: int) -> None:
    """28-30: held while open, and by no more than one end given away; used and returned are what was reserved."""
    ledger = begin(start).post(stream, size)
    for account in ledger.accounts.values():
        reservations, own = held_by(ledger, account), [t for t in transactions(ledger) if t.account_id == account.id]
        held = [reservation.reserved_micro for reservation in reservations if reservation.is_open]
        assert (account.reserved_micro, account.open_reservations) == (sum(held), len(held))
        for reservation in reservations:
            moves = [(t, a) for t in own for name, a in t.lines if name == reserved_account(reservation.id)]
            ends = [-reservation.reserved_micro] * (not reservation.is_open)
            assert [amount for _, amount in moves] == [a for a in [reservation.reserved_micro, *ends] if a]
            if not reservation.is_open:
                [end] = [t for t in own if t.seq == reservation.ended_seq]
                gains = sum(a for name, a in end.lines if name == DEBT or name.startswith(("block:", "expired")))
                assert reservation.used_micro + gains == reservation.reserved_micro


@LAW
@given(starts, any_streams, st.sampled_from([1, 4, 1_000]))
def test_everything_moves_applied(start: tuple[list[Block], list[Block]], stream: Entries, size: int) -> None:
    """34, 38: each entry of an account counts as applied: posted, duplicate or unreadable."""
    ledger = begin(start).post(stream, size)
    for ref, account in ledger.accounts.items():
        assert account.applied_micro == sum(entry.cost_micro for entry in stream if entry.ref == ref)


@LAW
@given(starts, streams, st.sampled_from([1, 4, 1_000]))
def test_posting_again_changes_nothing_else(start: tuple[list[Block], list[Block]], stream: Entries, size: int) -> None:
    """14, 39: a stream that is read again moves applied, posts no event and no debt, and leaves every total."""
    ledger = begin(start).post(stream, size)
    usage_only = [entry for entry in stream if isinstance(entry, StreamEntry) and entry.kind is EntryKind.USAGE]
    before = [(a.total_micro, a.debt_micro, a.seq, a.head_hash) for a in ledger.accounts.values()]
    ledger.postings.clear()
    ledger.post([*usage_only], size)
    assert [(a.total_micro, a.debt_micro, a.seq, a.head_hash) for a in ledger.accounts.values()] == before
    assert not transactions(ledger)
    assert not any(posting.events for posting in ledger.postings)


@LAW
@given(starts, any_streams)
def test_poison_is_rejected_and_the_rest_goes_on(start: tuple[list[Block], list[Block]], stream: Entries) -> None:
    """38: exactly what cannot be posted is rejected, and everything else is posted as if it had not been there."""
    ledger = begin(start).post(stream)
    rejected = [entry for posting in ledger.postings for entry in posting.rejected]
    stranger = ref_of(STRANGER)
    expected = [
        UNKNOWN_CUSTOMER if entry.ref == stranger else UNREADABLE
        for entry in stream
        if entry.ref == stranger or isinstance(entry, UnreadableEntry)
    ]
    assert [entry.code for entry in rejected] == expected
    clean = begin(start).post([e for e in stream if isinstance(e, StreamEntry) and e.ref != stranger])
    for account, other in zip(ledger.accounts.values(), clean.accounts.values(), strict=True):
        assert (account.total_micro, account.debt_micro, account.head_hash) == (
            other.total_micro,
            other.debt_micro,
            other.head_hash,
        )


@LAW
@given(starts, streams, st.sampled_from([1, 4, 1_000]))
def test_what_is_due_is_posted_at_its_time(start: tuple[list[Block], list[Block]], stream: Entries, size: int) -> None:
    """24: when an entry has passed a block's expiry, what was left has expired, once, dated with that moment."""
    ledger = begin(start).post(stream, size)
    for (ref, account), owned in zip(ledger.accounts.items(), start, strict=True):
        reached = max((e.accepted_at for e in stream if isinstance(e, StreamEntry) and e.ref == ref), default=0)
        assert all(block.expires_at > reached for block in account.blocks if block.remaining_micro)
        expiries = {block_account(block.id): block.expires_at for block in owned}
        own = [t for t in transactions(ledger) if t.account_id == account.id and t.kind == "expiry"]
        assert all(t.posted_at == expiries[t.lines[0][0]] <= reached for t in own)
        assert len({t.lines[0][0] for t in own}) == len(own)


@LAW
@given(starts, streams)
def test_no_debt_beside_credit_that_the_edge_knew(start: tuple[list[Block], list[Block]], stream: Entries) -> None:
    """After every entry that is posted, an account in debt has no credit that this entry might have drawn."""
    ledger = begin(start)
    for entry in stream:
        ledger.post([entry])
        if not isinstance(entry, StreamEntry) or entry.ref not in ledger.accounts:
            continue
        returns = isinstance(entry.reservation, ReservationEnd)  # the next entry pays from that
        account = ledger.accounts[entry.ref]
        if account.debt_micro and not returns and not ledger.postings[-1].duplicates:
            assert not any(is_eligible(block, entry.accepted_at, entry.revision) for block in account.blocks)


@LAW
@given(starts, streams)
def test_revision_rises_with_every_batch(start: tuple[list[Block], list[Block]], stream: Entries) -> None:
    """10: the edge hears of each batch that names an account, and of no other."""
    ledger = begin(start)
    before = {ref: account.revision for ref, account in ledger.accounts.items()}
    ledger.post(stream)
    named = {entry.ref for entry in stream}
    assert {ref: a.revision - before[ref] for ref, a in ledger.accounts.items()} == {
        ref: int(ref in named) for ref in ledger.accounts
    }
