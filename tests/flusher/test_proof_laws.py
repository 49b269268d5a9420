"""Laws of the proof: it has nothing to say of what was posted, whatever that was, and of anything else it has."""

from collections import defaultdict
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from app.flusher.posting import Entries
from app.ledger.book import Lines, Origin, PostedEvent, Transaction, block_account, reserved_account
from app.ledger.draws_proof import BlockRow
from app.ledger.proof import AccountProof, Finding
from app.rules import chain
from app.rules.burndown import Block
from app.wire.reservations import ReservationState
from tests.flusher.batch_subjects import Ledger, make_account, make_block, opening, ref_of, usage
from tests.flusher.test_batch_laws import any_streams, blocks, in_order
from tests.rules.laws import LAW

NAME = "ada"
streams = st.one_of(any_streams, any_streams.map(in_order))
MOSTLY_WITHOUT = settings(LAW, suppress_health_check=[HealthCheck.filter_too_much])
"""Most histories have nothing of what is to be changed."""
sizes = st.sampled_from([1, 4, 1_000])


class History:
    """One account's rows after its grants and a stream, and the proof of them."""

    def __init__(self, owned: list[Block], stream: Entries, size: int) -> None:
        self.account = make_account(NAME, [])
        self.blocks = [structs.replace(block) for block in owned]
        self.granted = {block.id: block.remaining_micro for block in owned}
        self.transactions = [self._grant(block) for block in self.blocks]
        self.account.blocks = sorted(self.blocks, key=lambda block: block.granted_at)
        ledger = Ledger([structs.replace(self.account)])
        ledger.accounts[ref_of(NAME)].blocks = _sorted(self.blocks)
        ledger.post(stream, size)
        self.account = ledger.accounts[ref_of(NAME)]
        own = [posting for posting in ledger.postings if posting.accounts]
        self.transactions += [transaction for posting in own for transaction in posting.transactions]
        self.events = [event for posting in own for event in posting.events]
        self.reservations = {**ledger.opened}
        self.blocks += [block for posting in own for _, block in posting.made_blocks]
        self.granted |= {block.id: block.granted_micro for posting in own for _, block in posting.made_blocks}

    def _grant(self, block: Block) -> Transaction:
        lines = [(block_account(block.id), block.remaining_micro), ("issued:promo", -block.remaining_micro)]
        return self.account.post("grant", lines, block.granted_at, Origin("test"))

    def prove(self) -> list[Finding]:
        """What the proof says of the rows as they are now."""
        found: list[Finding] = []
        rows = [BlockRow(block, self.granted[block.id]) for block in self.blocks]
        proof = AccountProof(self.account, rows, lambda *finding: found.append(Finding(*finding)))
        by_seq: dict[int, list[PostedEvent]] = defaultdict(list)
        for event in sorted(self.events, key=lambda event: event.id):
            by_seq[event.seq].append(event)
        for transaction in self.transactions:
            proof.begin(transaction)
            for event in by_seq[transaction.seq]:
                proof.add_event(event.chained())
            for reservation in self.reservations.values():
                if reservation.opened_seq == transaction.seq:
                    proof.reservations.add(reservation)
            proof.end()
        proof.finish()
        return found


def _sorted(owned: list[Block]) -> list[Block]:
    return sorted(owned, key=lambda b: (b.priority, b.expires_at, b.paid, b.granted_at, b.id))


@LAW
@given(blocks, streams, sizes)
def test_what_was_posted_proves(owned: list[Block], stream: Entries, size: int) -> None:
    """1, 3-7, 9-13, 22-24: in any order of entries, with debt, expiry and blocks that the edge did not know of."""
    assert History(owned, stream, size).prove() == []


@LAW
@given(blocks, streams, sizes, st.data())
def test_an_event_with_one_figure_changed_does_not(
    owned: list[Block], stream: Entries, size: int, data: st.DataObject
) -> None:
    """9: whichever event, whichever figure; and the transaction that it was posted with is named."""
    history = History(owned, stream, size)
    assume(history.events)
    place = data.draw(st.integers(0, len(history.events) - 1))
    event = history.events[place]
    field = data.draw(st.sampled_from(["units_micro", "cost_micro", "debt_micro", "occurred_at", "accepted_at"]))
    history.events[place] = structs.replace(event, **{field: getattr(event, field) + 1})
    row = f"ledger_transactions {history.account.id} seq {event.seq}"
    assert (9, row) in [(finding.invariant, finding.row) for finding in history.prove()]


@LAW
@given(blocks, streams, sizes, st.data())
def test_a_ledger_without_one_of_its_rows_does_not(
    owned: list[Block], stream: Entries, size: int, data: st.DataObject
) -> None:
    """Whichever transaction, event or line is missing."""
    history = History(owned, stream, size)
    kind = data.draw(st.sampled_from(["transactions", "events", "lines"]))
    rows = history.events if kind == "events" else history.transactions
    assume(rows)
    place = data.draw(st.integers(0, len(rows) - 1))
    if kind == "lines":
        transaction = history.transactions[place]
        assume(transaction.lines)
        history.transactions[place] = structs.replace(transaction, lines=transaction.lines[1:])
    else:
        del rows[place]
    assert history.prove()


@MOSTLY_WITHOUT
@given(blocks, streams, sizes, st.data())
def test_a_block_that_was_not_valid_when_it_was_drawn_is_found(
    owned: list[Block], stream: Entries, size: int, data: st.DataObject
) -> None:
    """23: a block's dates are in no hash, and the draws hold them."""
    history = History(owned, stream, size)
    drawn = [(event, block_id) for event in history.events for block_id, _ in event.parsed_draws()]
    assume(drawn)
    event, block_id = data.draw(st.sampled_from(drawn))
    block = next(block for block in history.blocks if block.id == UUID(str(block_id)))
    block.effective_at = event.accepted_at + 1
    assert (23, f"usage_events {event.id}") in [(finding.invariant, finding.row) for finding in history.prove()]


def post_by_hand(history: History, draws: dict[int, int], debt_micro: int = 0) -> PostedEvent:
    """Post one event that draws so much from these blocks, as a flusher with a fault might."""
    account, cost = history.account, sum(draws.values()) + debt_micro
    shown = [[str(UUID(int=number)), amount] for number, amount in draws.items()]
    event = PostedEvent(
        *(account.environment_id, account.id, account.seq + 1, UUID(int=9), "f", 1, cost, debt_micro),
        *(msgspec.json.encode(shown).decode(), UUID(int=1), None, None, 10, 10),
    )
    lines = [(block_account(UUID(int=number)), -amount) for number, amount in draws.items()]
    lines += [("debt", -debt_micro)] if debt_micro else []
    lines.append(("consumed:f", cost))
    digest = chain.events_digest([event.chained()])
    history.transactions.append(account.post("usage", lines, 10, Origin("test"), events_digest=digest))
    history.events.append(event)
    account.debt_micro += debt_micro
    for block in history.blocks:
        block.remaining_micro -= draws.get(block.id.int, 0)
    return event


@pytest.mark.parametrize(
    ("draws", "debt", "invariants"),
    [
        ({1: 60}, 0, []),
        ({1: 100, 2: 5}, 0, []),
        ({1: 100, 2: 100}, 7, []),
        ({2: 5}, 0, [22]),  # the first was to be drawn
        ({2: 5, 1: 100}, 0, [22]),  # out of turn
        ({1: 60}, 7, [22]),  # in debt, with credit left
        ({1: 99, 2: 5}, 0, [22]),
        ({1: 100, 2: 5, 4: 5}, 0, [22, 23]),  # the fourth has expired, and would have been first
        ({5: 5}, 0, [22, 23]),  # the fifth is not effective yet
        ({1: 101}, 0, [13]),
    ],
)
def test_draws_of_a_faulty_flusher(draws: dict[int, int], debt: int, invariants: list[int]) -> None:
    """13, 22, 23: where every hash and sum is right. The third block is one that the edge need not have known."""

    def block(number: int, known_revision: int, effective_at: int, expires_at: int) -> Block:
        return Block(UUID(int=number), 100, 100, False, known_revision, effective_at, expires_at, 0)  # noqa: FBT003

    owned = [block(1, 1, 0, 50), block(2, 1, 0, 60), block(3, 2, 0, 70), block(4, 1, 0, 5), block(5, 1, 11, 90)]
    history = History(owned, [], 1)
    event = post_by_hand(history, draws, debt)
    found = history.prove()
    replayed = [finding for finding in found if finding.invariant in {13, 22, 23}]
    assert sorted(finding.invariant for finding in replayed) == invariants
    assert all(finding.row == f"usage_events {event.id}" for finding in replayed if finding.invariant != 13)
    assert {finding.invariant for finding in found} - {5, *invariants} == set()


def post_lines(history: History, kind: str, lines: Lines, at: int) -> None:
    """Post these lines, as a flusher with a fault might: rows, sums and hashes go with them."""
    history.transactions.append(history.account.post(kind, lines, at, Origin("test")))
    for block in history.blocks:
        block.remaining_micro += sum(amount for name, amount in lines if name == block_account(block.id))


FIRST, SECOND = block_account(UUID(int=1)), block_account(UUID(int=2))


@pytest.mark.parametrize(
    ("kind", "lines", "at", "invariant"),
    [
        ("adjustment", [(FIRST, -5), ("voided", 5)], 10, None),
        ("adjustment", [(FIRST, -5), ("nowhere", 5)], 10, 6),
        ("expiry", [(FIRST, -100), ("expired", 100)], 50, None),
        ("expiry", [(FIRST, -100), ("expired", 100)], 49, 24),
        ("expiry", [(FIRST, -99), ("expired", 99)], 50, 24),
        ("adjustment", [(FIRST, 5), ("issued:adjustment", -5)], 10, 5),
        ("adjustment", [(FIRST, -101), ("voided", 101)], 10, 5),
    ],
)
def test_postings_of_a_faulty_flusher(kind: str, lines: Lines, at: int, invariant: int | None) -> None:
    """5, 6, 24: where every hash and sum is right, what was posted is not."""
    history = History([make_block(1, 100, 50)], [], 1)
    post_lines(history, kind, lines, at)
    found = {finding.invariant for finding in history.prove()}
    assert found == set() if invariant is None else invariant in found


def test_a_flusher_whose_clock_goes_back() -> None:
    """12: the hash is that of the earlier moment, and follows the one before it."""
    history = History([make_block(1, 100)], [], 1)
    post_lines(history, "adjustment", [(FIRST, -5), ("voided", 5)], 10)
    history.account.posted_at = 0
    post_lines(history, "adjustment", [(FIRST, -5), ("voided", 5)], 9)
    row = f"ledger_transactions {history.account.id} seq {history.account.seq}"
    assert [(finding.invariant, finding.row) for finding in history.prove()] == [(12, row)]


@pytest.mark.parametrize(("first", "second", "invariants"), [(100, 0, []), (60, 40, [31, 31])])
def test_a_release_that_gives_to_another_block(first: int, second: int, invariants: list[int]) -> None:
    """31: there is room for it, and every sum is right."""
    stream: Entries = [opening(NAME, 7, 100, 5), usage(NAME, 8, 50, 6)]
    history = History([make_block(1, 100), make_block(2, 100)], stream, 1)
    [(opened, held)] = history.reservations.items()
    ended = structs.replace(held, state=ReservationState.RELEASED, ended_at=9, ended_seq=history.account.seq + 1)
    history.reservations[opened] = ended
    back: Lines = [(name, amount) for name, amount in ((FIRST, first), (SECOND, second)) if amount]
    post_lines(history, "reservation_released", [(reserved_account(held.id), -100), *back], 9)
    history.account.reserved_micro = history.account.open_reservations = 0
    assert [finding.invariant for finding in history.prove()] == invariants
