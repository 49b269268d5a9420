"""What is told of credit depends on the stream alone: however it is cut, each crossing is told once, where it is."""

from collections.abc import Sequence
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from app.flusher.posting import Posting
from app.flusher.watching import CreditsLow
from app.ledger.book import DEBT, Transaction
from app.rules.thresholds import Threshold
from app.trail.outbox import EventType
from app.wire.events import StreamEntry
from tests.flusher.batch_subjects import tick
from tests.flusher.test_lag_laws import Rows, blocks, make_entries, make_rows, steps
from tests.rules.laws import LAW

thresholds = st.lists(
    st.one_of(
        st.builds(Threshold, amount_micro=st.integers(1, 20)),
        st.builds(Threshold, percent=st.sampled_from([10, 25, 50, 75, 99])),
    ),
    max_size=4,
    unique=True,
)
amounts = st.lists(st.builds(Threshold, amount_micro=st.integers(1, 20)), max_size=3, unique=True)
CROSSINGS = {EventType.CREDITS_LOW, EventType.CREDITS_DEPLETED, EventType.USAGE_OVERAGE}
"""What is told of totals; that a block expired is told beside it."""
Made = list[tuple[int, int, int | None, int | None, int | None]]
Program = list[tuple[str, int, int, bool]]
DUE = {"expiry", "rollover", "grant"}


def post(made: Made, program: Program, wanted: Sequence[Threshold], size: int) -> list[Posting]:
    """All postings of a program in batches of a size, and of a tick when all is due."""
    rows, entries = make_rows(made), [*make_entries(program), tick("user", 100)]
    return [one for _, one in post_each(rows, entries, wanted, size)]


def post_each(
    rows: Rows, entries: list[StreamEntry], wanted: Sequence[Threshold], size: int
) -> list[tuple[int, Posting]]:
    """Each batch's posting, with the debt before it."""
    rows.account.thresholds = wanted
    postings: list[tuple[int, Posting]] = []
    for start in range(0, len(entries), size):
        debt_micro = rows.account.debt_micro
        postings.append((debt_micro, rows.post(entries[start : start + size])))
    return postings


def told(postings: Sequence[Posting]) -> list[object]:
    """Everything that is told, but for the ids."""
    return [(said.type, said.at, said.data) for posting in postings for said in posting.announcements]


@settings(LAW, max_examples=600)
@given(blocks, steps, thresholds, st.integers(2, 15))
def test_cuts_do_not_matter(made: Made, program: Program, wanted: list[Threshold], size: int) -> None:
    """One entry a batch, several, or everything in one: the same words, at the same moments, in the same order."""
    assert told(post(made, program, wanted, size)) == told(post(made, program, wanted, 1))


@settings(LAW, max_examples=300)
@given(blocks, steps, thresholds, st.integers(1, 15))
def test_ids_are_of_one_word_each(made: Made, program: Program, wanted: list[Threshold], size: int) -> None:
    """So that no word is lost, and the same batch again says the same."""
    first, again = post(made, program, wanted, size), post(made, program, wanted, size)
    ids = [[said.id for posting in one for said in posting.announcements] for one in (first, again)]
    assert len(set(ids[0])) == len(ids[0])
    assert ids[0] == ids[1]


def states(debt_micro: int, transactions: Sequence[Transaction]) -> list[tuple[int, int]]:
    """(total, debt) after all that fell due at one moment, and after each other transaction, of one entry."""
    found: list[tuple[int, int]] = []
    for _, together in groupby(enumerate(transactions), lambda pair: _moment(*pair)):
        for _, transaction in together:
            debt_micro -= sum(amount for name, amount in transaction.lines if name == DEBT)
            total_micro = transaction.total_after_micro
        found.append((total_micro, debt_micro))
    return found


def _moment(number: int, transaction: Transaction) -> tuple[str, int]:
    is_due = transaction.kind in DUE
    return ("due", transaction.posted_at) if is_due else ("other", number)


@settings(LAW, max_examples=600)
@given(blocks, steps, amounts)
def test_what_is_told_is_what_the_ledger_crossed(made: Made, program: Program, wanted: list[Threshold]) -> None:
    """Each amount, zero and the first debt, from the totals of the transactions alone."""
    rows = make_rows(made)
    before = rows.account.total_micro, 0
    expected: list[object] = []
    postings = post_each(rows, [*make_entries(program), tick("user", 100)], wanted, 1)
    for debt_micro, posting in postings:
        # The debt that credit is about to expire pays is part of its moment; it changes no total.
        steps_of = states(debt_micro, posting.transactions)
        for after in steps_of:
            lows = [one for one in wanted if after[0] <= (one.amount_micro or 0) < before[0]]
            expected += sorted((one.amount_micro or 0 for one in lows), reverse=True)
            expected += [EventType.CREDITS_DEPLETED] if after[0] <= 0 < before[0] else []
            expected += [EventType.USAGE_OVERAGE] if before[1] == 0 < after[1] else []
            before = after
    said = [said for _, posting in postings for said in posting.announcements if said.type in CROSSINGS]
    shown = [one.data.level.micro if isinstance(one.data, CreditsLow) else one.type for one in said]
    assert shown == expected


@settings(LAW, max_examples=200)
@given(blocks, steps, thresholds)
def test_the_ledger_does_not_depend_on_what_is_told(made: Made, program: Program, wanted: list[Threshold]) -> None:
    """With thresholds or without, all transactions are the same."""
    with_them, without = post(made, program, wanted, 4), post(made, program, [], 4)
    assert [p.transactions for p in with_them] == [p.transactions for p in without]


def test_what_expires_where_as_much_is_granted_was_never_missing() -> None:
    """Credit of one month goes and that of the next comes at one moment: nothing is told, whoever comes by when."""
    for at in (6, 9):
        rows = make_rows([(9, 6, None, None, None), (9, 100, 6, None, None)])
        block = next(block for block in rows.blocks.values() if block.is_scheduled)
        rows.blocks[block.id] = structs.replace(block, effective_at=6)
        postings = post_each(rows, [tick("user", at)], [Threshold(amount_micro=5)], 1)
        assert [t.kind for _, posting in postings for t in posting.transactions] == ["expiry", "grant"]
        said = [said.type for _, posting in postings for said in posting.announcements]
        assert not CROSSINGS & set(said)
        assert said == [EventType.CREDITS_EXPIRED]
