"""What is told of credit, as a table: thresholds, credit and entries in, words out."""

import re

import pytest

from app.flusher.telling import CreditsExpired
from app.flusher.watching import CreditsDepleted, CreditsLow, UsageOverage
from app.rules.thresholds import Threshold
from app.trail.outbox import Announcement
from app.wire.events import StreamEntry
from app.wire.reservations import ReservationState
from tests.flusher.batch_subjects import Ledger, ending, opening
from tests.flusher.test_batch_cases import read_account, read_entry, words

# Thresholds: micro-credits or percent. Blocks and entries: as in test_batch_cases.py, and `hold` and `free` of a
# reservation (#n). Words: low/depleted/expired@time, threshold, = where it lies if elsewhere, and what the account has
# then, or what expired.
CASES = """
thresholds | blocks               | entries                               | told
           | a 9                  | use 3 @5, use 5 @6                    |
           | a 9                  | use 9 @5                              | depleted@5 0
           | a 9                  | use 11 @5, use 2 @6                   | depleted@5 -2, overage@5 2
           |                      | use 2 @5, use 2 @6                    | overage@5 2
5          | a 9                  | use 3 @5, use 1 @6, use 1 @7, use 1 @8 | low@6 5 5
5          | a 5                  | use 1 @5                              |
5, 8       | a 9                  | use 9 @5                              | low@5 8 0, low@5 5 0, depleted@5 0
8, 5       | a 9                  | use 9 @5, use 1 @6           | low@5 8 0, low@5 5 0, depleted@5 0, overage@6 1
50%        | a 10                 | use 4 @5, use 1 @6, use 1 @7          | low@6 50%=5 5
5          | a 9 <50              | tick @50                              | expired@50 9, low@50 5 0, depleted@50 0
5          | a 9 <50              | use 1 @60                    | expired@50 9, low@50 5 0, depleted@50 0, overage@60 1
5          | a 4 <50, b 9         | tick @60                              | expired@50 4
9          | a 4 <50, b 9         | tick @60                              | expired@50 4, low@50 9 9
5          | a 9 r2               | use 3 @5                              | overage@5 3
5          | a 9 r2               | use 3 @5, tick @6 r2, use 2 @7 r2     | overage@5 3, low@7 5 4
           | a 2 r2               | use 3 @5, tick @6 r2, use 1 @7 r2     | depleted@5 -1, overage@5 3
           | a 2 r2               | use 1 @5, use 1 @6, use 2 @7 r2, use 1 @8 r2|overage@5 1, depleted@6 0, overage@7 2
5          | a 9                  | hold 6 #1 @5, free #1 @6, use 4 @7    | low@5 5 3, low@7 5 5
5          | a 9                  | use 4 #1 @5, use 4 #1 @6              | low@5 5 5
20%        | a 100, b 10          | use 87 @5, use 1 @6, use 12 @7, use 7 @8, use 1 @9 | low@6 20%=22 22, low@9 20%=2 2
20%        | a 100, b 10          | use 88 @5, use 13 @6, use 6 @7, use 1 @8 | low@5 20%=22 22, low@8 20%=2 2
20%        | a 10, b 100          | use 10 @5, use 79 @6, use 1 @7        | low@7 20%=20 20
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in CASES.strip().splitlines()[1:]]


def read_threshold(text: str) -> Threshold:
    """A threshold from the words of the table."""
    number = int(text.rstrip("%"))
    return Threshold(percent=number) if text.endswith("%") else Threshold(amount_micro=number)


def read(text: str, number: int) -> StreamEntry:
    """An entry from the words of the table."""
    at, name = words(text, "@", 0), words(text, "#", 0)
    if text.startswith("hold"):
        return opening("user", name, words(text, "hold ", 0), at)
    if text.startswith("free"):
        return ending("user", name, ReservationState.RELEASED, at)
    return read_entry(text, number)


def show(said: Announcement) -> str:
    """What was told, in the words of the table."""
    match said.data:
        case CreditsLow("user", total, threshold, level):
            percent = f"{threshold.percent}%=" if isinstance(threshold.percent, int) else ""
            return f"low@{said.at} {percent}{level.micro} {total.micro}"
        case CreditsDepleted("user", total):
            return f"depleted@{said.at} {total.micro}"
        case UsageOverage("user", _, debt):
            return f"overage@{said.at} {debt.micro}"
        case CreditsExpired("user", _, amount):
            return f"expired@{said.at} {amount.micro}"
        case _:
            return str(said)


@pytest.mark.parametrize("size", [1, 2, 9])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}; {row[1]}; {row[2]}")
def test_case(row: list[str], size: int) -> None:
    """However many entries come at once."""
    thresholds, blocks, entries, told = row
    account = read_account(blocks)
    account.thresholds = [read_threshold(text) for text in re.findall(r"\S+(?<!,)", thresholds)]
    stream = [read(text.strip(), number) for number, text in enumerate(entries.split(","))]
    postings = Ledger([account]).post([*stream], size).postings
    assert ", ".join(show(said) for posting in postings for said in posting.announcements) == told
