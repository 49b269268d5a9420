"""What orders do to an account, as a table that finance can read, and as laws."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.book import Account, PostedEvent, Transaction
from app.ledger.targets import Targets
from app.orders.outcomes import Outcome
from app.rules.moments import NEVER_AT
from app.wire.events import EntryKind, StreamEntry
from app.wire.orders import BillOverage, Debit, Order, VoidGrant, VoidUsage
from tests.flusher.batch_subjects import Ledger, make_account, make_block, ref_of, usage
from tests.rules.laws import LAW

# Blocks: name, credit, [<expiry]. Steps: use n #event, void #event, void block [debt], take n [debt]; @time.
# Postings: kind and what every account but those of uses gains; a refusal stands as !code amount.
CASES = """
blocks     | steps                                     | postings                                          | left
a 9        | use 4 #1 @5, void #1 @6                   | void f-4 a+4                                      | a 9
a 9        | use 9 #1 @5, void #1 @6, use 3 #2 @7      | void f-9 a+9                                      | a 6
a 4, b 9   | use 6 #1 @5, void #1 @6                   | void f-6 a+4 b+2                                  | a 4, b 9
a 4        | use 6 #1 @5, void #1 @6                   | void f-6 debt+2 a+4                               | a 4
           | use 6 #1 @5, use 1 #2 @5, void #1 @6      | void f-6 debt+6                                   | debt 1
a 9 <20    | use 4 #1 @5, void #1 @30                  | void f-4 expired+4                                |
a 4 <20, b 9 | use 6 #1 @5, void #1 @30                  | void f-6 expired+4 b+2                            | b 9
a 9        | use 4 #1 @5, void #1 @6, void #1 @7       | void f-4 a+4; !already_voided 0                   | a 9
a 9        | void #1 @5                                | !not_found 0                                      | a 9
a 9        | use 0 #1 @5, void #1 @6                   | void                                              | a 9
a 9        | void a @5                                 | void voided+9 a-9                                 |
a 9, b 2   | void b @5, use 3 #1 @6                    | void voided+2 b-2                                 | a 6
a 9        | use 4 #1 @5, void a @6                    | !grant_spent 4                                    | a 5
a 9        | use 4 #1 @5, void a debt @6               | void voided+9 a-5 debt-4                          | debt 4
a 9        | use 9 #1 @5, void a debt @6               | void voided+9 debt-9                              | debt 9
a 9        | use 4 #1 @5, void a debt @6, void #1 @7   | void voided+9 a-5 debt-4; void f-4 debt+4         |
a 9 <20    | void a @20                                | !grant_expired 0                                  |
a 9        | void a @5, void a @6                      | void voided+9 a-9; !already_voided 0              |
a 9        | void z @5                                 | !not_found 0                                      | a 9
a 9        | take 4 @5                                 | adjustment a-4 issued:adjustment+4                | a 5
a 4, b 9   | take 6 @5                                 | adjustment a-4 b-2 issued:adjustment+6            | b 7
a 4        | take 6 @5                                 | !insufficient_credits 4                           | a 4
a 4        | take 6 debt @5                            | adjustment a-4 debt-2 issued:adjustment+6         | debt 2
           | use 6 #1 @5, bill @6                      | overage_billed debt+6 billed-6                    |
           | use 6 #1 @5, bill @6, bill @7             | overage_billed debt+6 billed-6; !nothing_owed 0   |
           | use 6 #1 @5, bill @6, void #1 @7          | overage_billed debt+6 billed-6; void f-6 refund+6 | refund 6
a 9        | use 4 #1 @5, bill @6                      | !nothing_owed 0                                   | a 5
a 4 <20    | take 1 @20                                | !insufficient_credits 0                           |
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in CASES.strip().splitlines()[1:]]


class Book(Ledger):
    """A ledger of one user that orders are given to, one batch each."""

    def __init__(self, account: Account) -> None:
        super().__init__([account])
        self.granted = {block.id: block for block in account.blocks}
        self.events: dict[UUID, PostedEvent] = {}
        self.targets = Targets(blocks=self.granted, events=self.events)

    @property
    def account(self) -> Account:
        """The user's."""
        return self.accounts[ref_of("user")]

    def step(self, entry: StreamEntry) -> None:
        """Post one entry."""
        self.post([entry], targets=self.targets)
        self.events |= {event.id: event for event in self.postings[-1].events}

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all orders."""
        return [outcome for posting in self.postings for outcome in posting.outcomes]

    def corrections(self) -> list[str]:
        """What the orders did, in the words of the table."""
        by_seq = {t.seq: t for posting in self.postings for t in posting.transactions}
        return [
            f"!{o.refused.code.value} {o.refused.amount_micro}" if o.refused else _show(by_seq[o.seq or 0])
            for o in self.outcomes
        ]


def _show(transaction: Transaction) -> str:
    gains = [f"{_name(name)}{amount:+}" for name, amount in transaction.lines]
    return " ".join([transaction.kind, *gains])


def _name(name: str) -> str:
    if name.startswith("block:"):
        number = UUID(name.removeprefix("block:")).int
        return chr(number) if number < 1 << 20 else "refund"
    return name.removeprefix("consumed:")


def order_entry(order: Order, at: int) -> StreamEntry:
    """An entry of the stream that carries an order."""
    return StreamEntry((at, 7), ref_of("user"), EntryKind.ORDER, at, 1, 0, None, order)


def read_step(text: str, number: int) -> StreamEntry:
    """An entry from the words of the table."""
    found = re.search(r"@(\d+)", text)
    at = int(found[1]) if found else 0
    words, head = text.split(), {"order_id": UUID(int=1000 + number), "actor": "finance"}
    if words[0] == "use":
        return usage("user", int(words[2][1:]), int(words[1]), at)
    if words[0] == "bill":
        return order_entry(BillOverage(**head), at)
    debt = "debt" in words
    if words[0] == "take":
        return order_entry(Debit(**head, amount_micro=int(words[1]), allow_debt=debt), at)
    if words[1].startswith("#"):
        return order_entry(VoidUsage(**head, event_id=UUID(int=int(words[1][1:]))), at)
    return order_entry(VoidGrant(**head, block_id=UUID(int=ord(words[1])), allow_debt=debt), at)


def read_account(text: str) -> Account:
    """An account from the words of the table."""
    parts = [part.split() for part in text.split(",") if part.strip()]
    blocks = [make_block(ord(part[0]), int(part[1]), int(part[2][1:]) if len(part) > 2 else NEVER_AT) for part in parts]
    return make_account("user", blocks)


def show_left(account: Account) -> str:
    """What is left, in the words of the table."""
    left = [f"{_name(f'block:{b.id}')} {b.remaining_micro}" for b in account.blocks if b.remaining_micro]
    return ", ".join(sorted(left) + ([f"debt {account.debt_micro}"] if account.debt_micro else []))


@pytest.mark.parametrize(("blocks", "steps", "postings", "left"), ROWS)
def test_orders(blocks: str, steps: str, postings: str, left: str) -> None:
    """Each case of the table; the account's total is always what blocks and debt give."""
    book = Book(read_account(blocks))
    for number, text in enumerate(steps.split(",")):
        book.step(read_step(text.strip(), number))
    assert "; ".join(book.corrections()) == postings
    assert show_left(book.account) == left
    assert book.account.total_micro == sum(b.remaining_micro for b in book.account.blocks) - book.account.debt_micro


def test_debt_that_was_paid_since_comes_back_as_a_refund() -> None:
    """Nobody remembers which credit paid it: a block of its own, free, that never expires."""
    book = Book(make_account("user", []))
    book.step(usage("user", 1, 6, 5))
    late = make_block(ord("l"), 9)
    book.account.blocks.append(late)
    book.account.total_micro += 9
    book.step(usage("user", 2, 1, 6))
    assert show_left(book.account) == "l 2"
    book.step(read_step("void #1 @7", 9))
    assert book.corrections() == ["void f-6 refund+6"]
    assert show_left(book.account) == "l 2, refund 6"
    [made] = [made for posting in book.postings for _, made in posting.made_blocks]
    assert (made.source, made.granted_micro, made.expires_at, made.paid) == ("refund", 6, NEVER_AT, False)


def test_an_order_is_carried_out_once() -> None:
    """Whether the ledger knew it before or the stream has it twice."""
    book = Book(make_account("user", [make_block(ord("a"), 9)]))
    order = Debit(order_id=UUID(int=5), actor="finance", amount_micro=2, allow_debt=False)
    book.post([order_entry(order, 5), order_entry(order, 6)], targets=book.targets)
    book.step(order_entry(order, 7))
    assert len(book.outcomes) == 1
    assert show_left(book.account) == "a 7"


steps_of = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(0, 12), st.integers(1, 6)),
        st.tuples(st.just("void"), st.sampled_from(["#1", "#2", "#3", "#6", "a", "b"]), st.booleans()),
        st.tuples(st.just("take"), st.integers(1, 12), st.booleans()),
    ),
    max_size=12,
)


@LAW
@given(steps_of, st.integers(1, 20), st.integers(1, 20), st.sampled_from([4, 9, NEVER_AT]))
def test_whatever_is_ordered_the_books_balance(
    steps: list[tuple[str, int | str, int | bool]], first: int, second: int, expires_at: int
) -> None:
    """Lines sum to zero, no block gets more than it was granted, and voiding everything leaves what was granted."""
    book = Book(make_account("user", [make_block(ord("a"), first, expires_at), make_block(ord("b"), second)]))
    for number, (verb, what, more) in enumerate(steps):
        words = f"use {what} #{more}" if verb == "use" else f"{verb} {what} {'debt' if more else ''}"
        book.step(read_step(f"{words} @{number}", number))
        account = book.account
        assert account.total_micro == sum(b.remaining_micro for b in account.blocks) - account.debt_micro
        assert account.debt_micro >= 0
        for block in book.granted.values():
            assert 0 <= block.remaining_micro <= block.granted_micro
    for posting in book.postings:
        assert all(sum(amount for _, amount in t.lines) == 0 for t in posting.transactions)


@LAW
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12)), max_size=8), st.integers(1, 40))
def test_voiding_every_event_restores_the_total(uses: list[tuple[int, int]], granted: int) -> None:
    """In any order; what was granted is there again, whether in its block or as a refund."""
    book = Book(make_account("user", [make_block(ord("a"), granted)]))
    for number, (event, cost) in enumerate(uses):
        book.step(read_step(f"use {cost} #{event} @{number}", number))
    for number, event in enumerate(sorted({event for event, _ in uses}, key=lambda event: event * 7 % 11)):
        book.step(read_step(f"void #{event} @{100 + number}", 100 + number))
    assert book.account.total_micro == granted
    assert book.account.debt_micro == 0
