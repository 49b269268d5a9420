"""What falls due by itself, as a table that finance can read: grants that become effective, caps, rollover."""

import re
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.flusher.batch import post_batch
from app.ledger.book import Account, Transaction
from app.rules.burndown import Block, Rollover, Terms
from app.rules.moments import NEVER_AT
from tests.flusher.batch_subjects import Ledger, make_account, make_block, ref_of, tick, usage
from tests.rules.laws import LAW

if TYPE_CHECKING:
    from app.flusher.posting import Entries

# Blocks: name credit, [>scheduled for], [<expiry], [cap n], [roll percent, [most n], until n]; all of one source.
# Transactions: kind@time and what blocks gain; R is what rolled over.
CASES = """
blocks                           | entries              | transactions                                      | left
a 9 >20                          | use 4 @10            | usage@10 debt-4                                   | debt 4
a 9 >20                          | use 4 @20            | grant@20 a+9, usage@20 a-4                        | a 5
a 9 >20                          | use 4 @10, tick @25  | usage@10 debt-4, grant@20 a+9, pay@20 a-4 debt+4  | a 5
a 9 >20 <30                      | tick @40             | grant@20 a+9, expiry@30 a-9                       |
a 9 <20, b 8 >20                 | tick @20             | expiry@20 a-9, grant@20 b+8                       | b 8
a 9, b 8 >20 cap 12              | tick @20             | grant@20 b+3                                      | a 9, b 3
a 9, b 8 >20 cap 9               | tick @20             | grant@20                                          | a 9
a 9, b 8 >20 cap 20              | tick @20             | grant@20 b+8                                      | a 9, b 8
a 9 <20, b 8 >20 cap 9           | tick @20             | expiry@20 a-9, grant@20 b+8                       | b 8
a 9, b 8 >20 cap 9               | use 4 @10, tick @20  | usage@10 a-4, grant@20 b+4                        | a 5, b 4
a 9 <20 roll 50% until 40        | tick @20             | rollover@20 a-4 R+4, expiry@20 a-5                | R 4
a 9 <20 roll 100% until 40       | tick @20             | rollover@20 a-9 R+9                               | R 9
a 9 <20 roll 50% most 2 until 40 | tick @20             | rollover@20 a-2 R+2, expiry@20 a-7                | R 2
a 9 <20 roll 50% until 40        | use 9 @5, tick @20   | usage@5 a-9                                       |
a 9 <20 roll 50% until 40        | tick @50             | rollover@20 a-4 R+4, expiry@20 a-5, expiry@40 R-4 |
a 9 <20 roll 50% until 40        | use 4 @30            | rollover@20 a-4 R+4, expiry@20 a-5, usage@30 R-4 |
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in CASES.strip().splitlines()[1:]]
SOURCE = "plan"


def number(text: str, mark: str, default: int | None = None) -> int | None:
    """The number behind a mark, such as 5 in `@5`."""
    found = re.search(rf"{re.escape(mark)} ?(\d+)", text)
    return int(found[1]) if found else default


def read_block(text: str) -> Block:
    """A block from the words of the table."""
    name, credit, *_ = text.split()
    block = make_block(ord(name), int(credit), number(text, "<") or NEVER_AT)
    rollover = None
    if (percent := number(text, "roll")) is not None:
        rollover = Rollover(percent * 10_000, number(text, "most"), number(text, "until") or NEVER_AT)
    block.source, block.effective_at = SOURCE, number(text, ">") or 0
    block.is_scheduled = ">" in text
    block.terms = Terms("core", None, None, number(text, "cap"), rollover)
    return block


def read_account(text: str) -> Account:
    """An account whose total leaves out what is only scheduled."""
    blocks = [read_block(part) for part in text.split(",")]
    account = make_account("user", blocks)
    account.total_micro = sum(block.remaining_micro for block in blocks if not block.is_scheduled)
    return account


def post(account: Account, entries: str, size: int = 1_000) -> Ledger:
    """Post what the table says, in batches of a size."""
    read: Entries = [
        tick("user", number(text, "@") or 0)
        if "tick" in text
        else usage("user", place + 1, number(text, "use") or 0, number(text, "@") or 0)
        for place, text in enumerate(entries.split(","))
    ]
    return Ledger([account]).post(read, size)


def show(transaction: Transaction) -> str:
    """A transaction in the words of the table."""
    gains = [(name_of(name), amount) for name, amount in transaction.lines if name.startswith(("block:", "debt"))]
    kind = "pay" if transaction.kind == "debt_payment" else transaction.kind
    return " ".join([f"{kind}@{transaction.posted_at}", *(f"{name}{gain:+}" for name, gain in gains)])


def name_of(account_name: str) -> str:
    """A block's letter; R for what rolled over."""
    if not account_name.startswith("block:"):
        return account_name
    value = UUID(account_name.removeprefix("block:")).int
    return chr(value) if value < 1 << 20 else "R"


def in_force(account: Account) -> list[Block]:
    """Blocks that were granted."""
    return [block for block in account.blocks if not block.is_scheduled]


def show_left(account: Account) -> str:
    """What is left, in the words of the table."""
    left = [f"{name_of(f'block:{b.id}')} {b.remaining_micro}" for b in in_force(account) if b.remaining_micro]
    return ", ".join(sorted(left, key=str.lower) + ([f"debt {account.debt_micro}"] if account.debt_micro else []))


@pytest.mark.parametrize("size", [1, 1_000])
@pytest.mark.parametrize(("blocks", "entries", "transactions", "left"), ROWS)
def test_due(blocks: str, entries: str, transactions: str, left: str, size: int) -> None:
    """Each case of the table, whether the flusher lags or not; the total is what blocks and debt give."""
    account = read_account(blocks)
    ledger = post(account, entries, size)
    posted = [show(transaction) for posting in ledger.postings for transaction in posting.transactions]
    assert ", ".join(posted) == transactions
    assert show_left(account) == left
    assert account.total_micro == sum(block.remaining_micro for block in in_force(account)) - account.debt_micro


def test_what_did_not_fit_is_said() -> None:
    """The entry tells how much of the grant there was room for."""
    account = read_account("a 9, b 8 >20 cap 12")
    scaled = [block.remaining_micro * 1_000_000 for block in account.blocks]
    account.blocks = [
        structs.replace(block, remaining_micro=micro, granted_micro=micro)
        for block, micro in zip(account.blocks, scaled, strict=True)
    ]
    for block in account.blocks:
        block.terms = Terms("core", "monthly", None, 12_000_000)
    account.total_micro = 9_000_000
    [posting] = post(account, "tick @20").postings
    [grant] = posting.transactions
    assert grant.reason == "monthly (3 of 8 fit under the cap)"
    assert posting.settled_blocks == {UUID(int=ord("b")): (account.environment_id, 3_000_000)}


@LAW
@given(
    st.integers(1, 1_000), st.integers(0, 1_000_000), st.one_of(st.none(), st.integers(0, 500)), st.integers(0, 1_000)
)
def test_unused_is_what_rolled_over_and_what_expired(granted: int, share: int, cap: int | None, used: int) -> None:
    """49: rollover is the share of what was unused, rounded down, at most the cap; the rest expires."""
    block = make_block(1, granted, 20)
    block.terms = Terms("core", rollover=Rollover(share, cap, 40))
    account = make_account("user", [block])
    ledger = Ledger([account]).post([usage("user", 1, min(used, granted), 5), tick("user", 20)])
    unused = granted - min(used, granted)
    sums = {"rollover": 0, "expiry": 0}
    for transaction in ledger.postings[0].transactions:
        if transaction.kind in sums:
            sums[transaction.kind] += -dict(transaction.lines)[f"block:{block.id}"]
    assert sums["rollover"] == min(unused * share // 1_000_000, unused if cap is None else cap)
    assert sums["rollover"] + sums["expiry"] == unused
    assert ref_of("user") in ledger.accounts


def test_each_tick_moves_its_account() -> None:
    """However little room a batch has: an account whose next moment stays where it was takes no other tick."""
    names = ["a", "b", "c"]
    accounts = {
        ref_of(name): make_account(name, [make_block(number, 20, 5), make_block(number + 10, 20, 9)])
        for number, name in enumerate(names, 1)
    }
    posting = post_batch(accounts, [tick(name, 9) for name in names], set(), most_due=1)
    assert {account.next_boundary() for account in accounts.values()} == {9}
    assert posting.unfinished == {account.id for account in accounts.values()}


def test_credit_that_pays_a_debt_is_not_due_any_more() -> None:
    """A batch that has room for no other moment is done with the account where nothing is left to expire."""
    account = read_account("a 4 >20 <30")
    account.debt_micro, account.total_micro = 9, -9
    posting = post_batch({ref_of("user"): account}, [tick("user", 40)], set(), most_due=1)
    assert [show(transaction) for transaction in posting.transactions] == ["grant@20 a+4", "pay@20 a-4 debt+4"]
    assert (posting.unfinished, account.debt_micro) == (set(), 5)
