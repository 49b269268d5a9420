"""What a batch does, as a table: credit and entries in, transactions and what is left out."""

import re
from uuid import UUID

import pytest

from app.ledger.book import Account, Transaction
from app.rules.moments import NEVER_AT
from app.wire.events import StreamEntry
from tests.flusher.batch_subjects import Ledger, make_account, make_block, tick, usage

# Blocks: name, credit, [<expiry], [r revision with which the edge learned of it], spent in the order of the alphabet.
# Entries: use (n = cost, #n = event, else each is its own) or tick, @time, [r revision that the edge knew, else 1].
# Transactions: kind@time (pay = debt_payment) and what blocks and debt gain; the rest of the zero sum is left out.
CASES = """
blocks         | entries                         | transactions                                     | left
a 9            | use 3 @5                        | usage@5 a-3                                      | a 6
a 9            | use 3 @5, use 2 @6              | usage@6 a-5                                      | a 4
a 9            | use 0 @5                        | usage@5                                          | a 9
a 9, b 9       | use 11 @5                       | usage@5 a-9 b-2                                  | b 7
b 9, a 9 <50   | use 11 @5                       | usage@5 a-9 b-2                                  | b 7
a 9, b 9 <50   | use 3 @5                        | usage@5 b-3                                      | a 9, b 6
a 9            | use 11 @5                       | usage@5 a-9 debt-2                               | debt 2
               | use 3 @5, use 2 @6              | usage@6 debt-5                                   | debt 5
a 9 <50        | use 3 @49                       | usage@49 a-3                                     | a 6
a 9 <50        | use 3 @50                       | expiry@50 a-9, usage@50 debt-3                   | debt 3
a 9 <50        | use 3 @5, use 2 @60             | usage@5 a-3, expiry@50 a-6, usage@60 debt-2      | debt 2
a 9 <50, b 8 <40 | tick @60                      | expiry@40 b-8, expiry@50 a-9                     |
a 9 <50        | tick @49                        |                                                  | a 9
a 9 <50        | tick @50, tick @51              | expiry@50 a-9                                    |
a 9 r2         | use 3 @5                        | usage@5 debt-3                                   | a 9, debt 3
a 9 r2         | use 3 @5, tick @6               | usage@5 debt-3                                   | a 9, debt 3
a 9 r2         | use 3 @5, tick @6 r2            | usage@5 debt-3, pay@6 a-3 debt+3                 | a 6
a 9 r2         | use 3 @5, use 2 @6 r2           | usage@5 debt-3, pay@6 a-3 debt+3, usage@6 a-2    | a 4
a 2 r2, b 2 r3 | use 3 @5, tick @6 r2, tick @7 r3 | usage@5 debt-3, pay@6 a-2 debt+2, pay@7 b-1 debt+1 | b 1
a 9 r2 <50     | use 3 @5, tick @50 r2           | usage@5 debt-3, pay@49 a-3 debt+3, expiry@50 a-6 |
a 9            | use 3 #1 @5, use 3 #1 @6        | usage@5 a-3                                      | a 6
a 9 <50        | use 3 #1 @5, use 3 #1 @60       | usage@5 a-3, expiry@50 a-6                       |
a 9 r2         | use 3 #1 @5, use 3 #1 @6 r2     | usage@5 debt-3                                   | a 9, debt 3
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in CASES.strip().splitlines()[1:]]


def words(text: str, mark: str, default: int) -> int:
    """The number behind a mark, such as 5 in `@5`."""
    found = re.search(rf"{re.escape(mark)}(\d+)", text)
    return int(found[1]) if found else default


def read_account(text: str) -> Account:
    """An account from the words of the table."""
    parts = [part.split() for part in text.split(",") if part.strip()]
    blocks = [
        make_block(ord(part[0]), int(part[1]), words(" ".join(part), "<", NEVER_AT), words(" ".join(part[2:]), "r", 1))
        for part in parts
    ]
    return make_account("user", blocks)


def read_entry(text: str, number: int) -> StreamEntry:
    """An entry from the words of the table."""
    at, revision = words(text, "@", 0), words(text, " r", 1)
    if text.startswith("tick"):
        return tick("user", at, revision)
    return usage("user", words(text, "#", 100 + number), words(text, "use ", 0), at, revision)


def show_transaction(transaction: Transaction) -> str:
    """A transaction in the words of the table."""
    gains = [(name_of(name), amount) for name, amount in transaction.lines if name.startswith(("block:", "debt"))]
    kind = "pay" if transaction.kind == "debt_payment" else transaction.kind
    return " ".join([f"{kind}@{transaction.posted_at}", *(f"{name}{gain:+}" for name, gain in gains)])


def show_left(account: Account) -> str:
    """What is left, in the words of the table."""
    left = [f"{chr(b.id.int)} {b.remaining_micro}" for b in account.blocks if b.remaining_micro]
    return ", ".join(sorted(left) + ([f"debt {account.debt_micro}"] if account.debt_micro else []))


def name_of(ledger_account: str) -> str:
    """`debt`, or a block's letter."""
    _, _, block_id = ledger_account.partition(":")
    return chr(UUID(block_id).int) if block_id else ledger_account


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}; {row[1]}")
def test_case(row: list[str]) -> None:
    """Credit and entries in, ledger out."""
    blocks, entries, transactions, left = row
    account = read_account(blocks)
    posting = (
        Ledger([account]).post([read_entry(text.strip(), n) for n, text in enumerate(entries.split(","))]).postings[0]
    )
    assert ", ".join(map(show_transaction, posting.transactions)) == transactions
    assert show_left(account) == left
