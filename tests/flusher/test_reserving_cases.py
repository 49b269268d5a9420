"""What reservations do to an account, as a table that finance can read."""

import re
from uuid import UUID

import pytest

from app.ledger.book import Account, Transaction
from app.ledger.targets import Targets
from app.rules.moments import NEVER_AT
from app.wire.events import EntryKind, StreamEntry
from app.wire.orders import VoidGrant, VoidUsage
from app.wire.reservations import ReservationState
from tests.flusher.batch_subjects import (
    Ledger,
    ending,
    extension,
    make_account,
    make_block,
    opening,
    ref_of,
    tick,
    usage,
)

# Blocks: name, credit, [<expiry], [r revision with which the edge learned of it].
# Steps, one batch or one each: open n #id, commit n #id, release #id, expire #id, extend #id, use n #id, void #event,
# void block [debt], tick; @time, [r revision that the edge knew, else 1].
# Postings: what every transaction but those of use gains; `held` is what reservations hold, f is what was used.
CASES = """
blocks       | steps                                         | postings                                                      | left
a 9          | open 4 #1 @5                                  | opened a-4 held+4                                             | a 5, held 4
a 9          | open 4 #1 @5, commit 4 #1 @6                  | opened a-4 held+4; committed held-4 f+4                       | a 5
a 9          | open 4 #1 @5, commit 3 #1 @6                  | opened a-4 held+4; committed held-4 f+3 a+1                   | a 6
a 9          | open 4 #1 @5, commit 0 #1 @6                  | opened a-4 held+4; committed held-4 a+4                       | a 9
a 9          | open 4 #1 @5, commit 6 #1 @6                  | opened a-4 held+4; committed held-4 f+6 a-2                   | a 3
a 9          | open 4 #1 @5, commit 11 #1 @6                 | opened a-4 held+4; committed held-4 f+11 a-5 debt-2           | debt 2
a 9          | open 4 #1 @5, release #1 @6                   | opened a-4 held+4; released held-4 a+4                        | a 9
a 9          | open 4 #1 @5, expire #1 @6                    | opened a-4 held+4; expired held-4 a+4                         | a 9
a 9          | open 9 #1 @5, release #1 @6, use 2 #2 @7      | opened a-9 held+9; released held-9 a+9                        | a 7
a 9          | open 0 #1 @5, commit 0 #1 @6                  | opened; committed                                             | a 9
a 9          | open 0 #1 @5, release #1 @6                   | opened; released                                              | a 9
a 4, b 9     | open 6 #1 @5, commit 5 #1 @6                  | opened a-4 b-2 held+6; committed held-6 f+5 b+1               | b 8
a 4, b 9     | open 6 #1 @5, commit 3 #1 @6                  | opened a-4 b-2 held+6; committed held-6 f+3 a+1 b+2           | a 1, b 9
a 4          | open 6 #1 @5                                  | opened a-4 debt-2 held+6                                      | debt 2, held 6
a 4          | open 6 #1 @5, commit 6 #1 @6                  | opened a-4 debt-2 held+6; committed held-6 f+6                | debt 2
a 4          | open 6 #1 @5, commit 5 #1 @6                  | opened a-4 debt-2 held+6; committed held-6 f+5 debt+1         | debt 1
a 4          | open 6 #1 @5, release #1 @6                   | opened a-4 debt-2 held+6; released held-6 debt+2 a+4          | a 4
             | open 6 #1 @5, use 3 #2 @6, release #1 @7      | opened debt-6 held+6; released held-6 debt+6                  | debt 3
a 2, b 9 r2  | open 6 #1 @5, tick @6 r2, release #1 @7 r2    | opened a-2 debt-4 held+6; pay b-4 debt+4; released held-6 a+2 refund+4 | a 2, b 5, refund 4
a 9 <20      | open 4 #1 @5, release #1 @30                  | opened a-4 held+4; expiry a-5 expired+5; released held-4 expired+4 |
a 9 <20      | open 9 #1 @5, commit 8 #1 @30                 | opened a-9 held+9; committed held-9 f+8 expired+1             |
a 4 <20, b 9 | open 6 #1 @5, commit 5 #1 @30                 | opened a-4 b-2 held+6; committed held-6 f+5 b+1               | b 8
a 4 <20, b 9 | open 6 #1 @5, commit 3 #1 @30                 | opened a-4 b-2 held+6; committed held-6 f+3 expired+1 b+2     | b 9
a 9 <20      | open 9 #1 @5, commit 11 #1 @20                | opened a-9 held+9; committed held-9 f+11 debt-2               | debt 2
a 9 r2       | open 4 #1 @5                                  | opened debt-4 held+4                                          | a 9, debt 4, held 4
a 9 r2       | open 4 #1 @5, commit 4 #1 @6 r2               | opened debt-4 held+4; pay a-4 debt+4; committed held-4 f+4    | a 5
a 9          | open 4 #1 @5, open 4 #1 @6                    | opened a-4 held+4                                             | a 5, held 4
a 9          | open 4 #1 @5, commit 4 #1 @6, open 4 #1 @7    | opened a-4 held+4; committed held-4 f+4; opened a-4 held+4    | a 1, held 4
a 9          | open 4 #1 @5, commit 4 #1 @6, open 3 #1 @7, commit 3 #1 @8 | opened a-4 held+4; committed held-4 f+4; opened a-3 held+3; released held-3 a+3 | a 5
a 9          | open 4 #1 @5, commit 4 #1 @6, open 3 #1 @7, expire #1 @8   | opened a-4 held+4; committed held-4 f+4; opened a-3 held+3; expired held-3 a+3  | a 5
a 9          | open 4 #1 @5, release #1 @6, open 3 #1 @7, commit 3 #1 @8  | opened a-4 held+4; released held-4 a+4; opened a-3 held+3; committed held-3 f+3 | a 6
a 9          | open 4 #1 @5, commit 3 #1 @6, commit 4 #1 @7  | opened a-4 held+4; committed held-4 f+3 a+1                   | a 6
a 9          | open 4 #1 @5, release #1 @6, commit 4 #1 @7   | opened a-4 held+4; released held-4 a+4                        | a 9
a 9          | open 4 #1 @5, expire #1 @6, release #1 @7     | opened a-4 held+4; expired held-4 a+4                         | a 9
a 9          | open 4 #1 @5, extend #1 @6, release #1 @7     | opened a-4 held+4; released held-4 a+4                        | a 9
a 9          | extend #1 @6, release #1 @7, expire #1 @8     |                                                               | a 9
a 9          | commit 4 #1 @6                                |                                                               | a 5
a 9          | commit 4 #1 @6, commit 4 #1 @7                |                                                               | a 5
a 9          | commit 4 #1 @6, open 5 #1 @7, commit 4 #1 @8  | opened a-5 held+5; released held-5 a+5                        | a 5
a 9          | open 4 #1 @5, expire #1 @6, use 3 #1 @7       | opened a-4 held+4; expired held-4 a+4                         | a 6
a 9          | open 4 #1 @5, expire #1 @6, use 3 #1 @7, use 3 #1 @8 | opened a-4 held+4; expired held-4 a+4                  | a 6
a 9          | open 4 #1 @5, use 3 #1 @6, commit 3 #1 @7     | opened a-4 held+4; released held-4 a+4                        | a 6
a 9          | open 4 #1 @5, void a @6                       | opened a-4 held+4                                             | a 5, held 4
a 9          | open 4 #1 @5, void a debt @6                  | opened a-4 held+4; void voided+9 a-5 debt-4                   | debt 4, held 4
a 9          | open 4 #1 @5, void a debt @6, release #1 @7   | opened a-4 held+4; void voided+9 a-5 debt-4; released held-4 debt+4 |
a 9          | open 4 #1 @5, void a debt @6, commit 3 #1 @7  | opened a-4 held+4; void voided+9 a-5 debt-4; committed held-4 f+3 debt+1 | debt 3
a 9          | open 9 #1 @5, commit 5 #1 @6, void #1 @7      | opened a-9 held+9; committed held-9 f+5 a+4; void f-5 a+5     | a 9
a 4          | open 4 #1 @5, commit 6 #1 @6, void #1 @7      | opened a-4 held+4; committed held-4 f+6 debt-2; void f-6 debt+2 a+4 | a 4
a 9          | commit 4 #1 @6, void #1 @7                    | void f-4 a+4                                                  | a 9
"""  # noqa: E501 - a table
ROWS = [[cell.strip() for cell in line.split("|")] for line in CASES.strip().splitlines()[1:]]
STATES = {
    "commit": ReservationState.COMMITTED,
    "release": ReservationState.RELEASED,
    "expire": ReservationState.EXPIRED,
}


def words(text: str, mark: str, default: int) -> int:
    """The number behind a mark, such as 5 in `@5`."""
    found = re.search(rf"{re.escape(mark)}(\d+)", text)
    return int(found[1]) if found else default


def read_account(text: str) -> Account:
    """An account from the words of the table."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    blocks = [
        make_block(ord(part[0]), words(part, " ", 0), words(part, "<", NEVER_AT), words(part, " r", 1))
        for part in parts
    ]
    return make_account("user", blocks)


def read_step(text: str, number: int) -> StreamEntry:
    """An entry from the words of the table."""
    verb, *rest = text.split()
    at, revision, what, amount = (
        words(text, "@", 0),
        words(text, " r", 1),
        words(text, "#", 0),
        words(text, f"{verb} ", 0),
    )
    match verb:
        case "tick":
            return tick("user", at, revision)
        case "use":
            return usage("user", what, amount, at, revision)
        case "open":
            return opening("user", what, amount, at, revision)
        case "extend":
            return extension("user", what, 99, at, revision)
        case "void":
            order_id = UUID(int=1_000 + number)
            voided = UUID(int=what or ord(rest[0]))
            order = (
                VoidUsage(order_id=order_id, actor="f", event_id=voided)
                if what
                else VoidGrant(order_id=order_id, actor="f", block_id=voided, allow_debt="debt" in rest)
            )
            return StreamEntry((at, 7), ref_of("user"), EntryKind.ORDER, at, revision, 0, None, order)
        case _:
            return ending("user", what, STATES[verb], at, revision, used_micro=amount)


def show(transaction: Transaction) -> str:
    """A transaction in the words of the table."""
    kind = {"debt_payment": "pay"}.get(transaction.kind, transaction.kind.removeprefix("reservation_"))
    return " ".join([kind, *(f"{name_of(name)}{amount:+}" for name, amount in transaction.lines)])


def name_of(name: str) -> str:
    """A block's letter, or what else gains."""
    kind, _, what = name.partition(":")
    if kind == "block":
        return chr(UUID(what).int) if UUID(what).int < 1 << 20 else "refund"
    return {"reserved": "held", "consumed": what}.get(kind, name)


def show_left(account: Account) -> str:
    """What is left, in the words of the table."""
    left = sorted(f"{name_of(f'block:{b.id}')} {b.remaining_micro}" for b in account.blocks if b.remaining_micro)
    left += [f"debt {account.debt_micro}"] if account.debt_micro else []
    left += [f"held {account.reserved_micro}"] if account.open_reservations else []
    return ", ".join(left)


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}; {row[1]}")
def test_case(row: list[str], size: int) -> None:
    """Credit and entries in, ledger out: in one batch, and with each entry in a batch of its own."""
    blocks, steps, postings, left = row
    ledger = Ledger([read_account(blocks)])
    ledger.post([read_step(text.strip(), n) for n, text in enumerate(steps.split(","))], size)
    made = [t for posting in ledger.postings for t in posting.transactions if t.kind != "usage"]
    assert "; ".join(map(show, made)) == postings
    assert show_left(ledger.accounts[ref_of("user")]) == left


def test_a_commit_is_an_event_of_the_reservation() -> None:
    """Under its id, at its price, with what really was used of each block; the opening keeps what it drew."""
    ledger = Ledger([read_account("a 4, b 9")])
    ledger.post([opening("user", 1, 6, 5), ending("user", 1, ReservationState.COMMITTED, 6, used_micro=8)])
    [event] = ledger.postings[0].events
    a, b = UUID(int=ord("a")), UUID(int=ord("b"))
    assert (event.id, event.units_micro, event.cost_micro, event.debt_micro) == (UUID(int=1), 8, 8, 0)
    assert event.parsed_draws() == [(a, 4), (b, 4)]
    assert (event.idempotency_key, event.properties, event.occurred_at) == ("key 1", '{"a": 1}', 6)
    [used] = ledger.postings[0].used
    assert (used.units_micro, used.cost_micro, used.events) == (8, 8, 1)
    held = ledger.reservations[UUID(int=1)]
    assert held.parsed_draws() == [(a, 4), (b, 2)]
    assert (held.state, held.used_micro, held.ended_at) == (ReservationState.COMMITTED, 8, 6)
    assert (held.opened_seq, held.ended_seq) == (1, 2)


def test_what_was_reserved_falls_due_later_only() -> None:
    """An extension never shortens, and ends nothing."""
    ledger = Ledger([read_account("a 9")])
    ledger.post([opening("user", 1, 6, 5, due_at=50), extension("user", 1, 40, 6)])
    assert ledger.reservations[UUID(int=1)].expires_at == 50
    ledger.post([extension("user", 1, 60, 7)])
    assert ledger.reservations[UUID(int=1)].expires_at == 60


def test_what_is_read_again_changes_nothing_of_what_was_opened_again() -> None:
    """Opening, extension and end of before: a new incarnation has its stream read from the beginning."""
    before = [opening("user", 1, 6, 5, due_at=50), extension("user", 1, 900, 6)]
    before.append(ending("user", 1, ReservationState.RELEASED, 7))
    ledger = Ledger([read_account("a 9")]).post([*before, opening("user", 1, 4, 8, due_at=60)])
    kept = {**ledger.opened}
    ledger.post([*before])
    assert ledger.opened == kept
    assert (ledger.reservations[UUID(int=1)].expires_at, ledger.accounts[ref_of("user")].total_micro) == (60, 5)


def test_costs_count_as_applied_whatever_they_did() -> None:
    """34: those of repeated openings and ends, and of ends of what the ledger never saw, too."""
    entries = [opening("user", 1, 6, 5), opening("user", 1, 6, 6), ending("user", 2, ReservationState.RELEASED, 7)]
    posting = Ledger([read_account("a 9")]).post([*entries, *entries[:1]]).postings[0]
    assert posting.accounts[ref_of("user")].applied_micro == 6 + 6 - 1 + 6
    assert posting.duplicates == 3


def test_targets_are_needed_for_reservations_of_earlier_batches_only() -> None:
    """A batch that opens and ends finds what it made."""
    entries = [opening("user", 1, 6, 5), ending("user", 1, ReservationState.RELEASED, 7)]
    ledger = Ledger([read_account("a 9")]).post([*entries], targets=Targets())
    assert ledger.accounts[ref_of("user")].total_micro == 9
