"""What becomes of credit that rolls over into a period that nobody has paid for, as a table that finance can read."""

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from app.rules.lifecycle import State
from app.rules.periods import IntervalUnit
from app.rules.terms import Interval, RolloverRule, SubscriptionTerms
from tests.flusher.batch_subjects import tick
from tests.flusher.pausing_laws import only_what_is_not_paid_for_waits_or_is_lost, what_comes_back_lives_its_time
from tests.flusher.subscribing_laws import any_cut, findings_of, the_proof_accepts_it, what_a_pause_sets_aside_waits
from tests.flusher.subscribing_programs import Life, Part
from tests.flusher.test_pause_cases import begun, entry_of, look_at, post, subscribing
from tests.rules.laws import LAW
from tests.rules.subscribing import DAY, MONTHLY, PREPAID, STARTS_AT, grant, plan

# Both are for months of 28 and of 31 days, prepaid, with a grace of 7 days. `month`: 1,000 credits, of which half rolls
# over, at @28 into what waits. `ten days`: 100 credits every ten days, all of which rolls over, at @30 while it is
# overdue. The steps are those of the pauses' table; a void of a grant is one of what rolled over there.
OFFERS = {
    "month": (MONTHLY, 1_000, 500_000),
    "ten days": (Interval(IntervalUnit.DAY, 10), 100, 1_000_000),
}
CASES = """
offer    | steps                                                             | seen
month    | renew @30                                                         | @27 1000, @28 0+500, @30 1500, @59 0+500
month    | void grant @29                                                    | @28 0+500, @29 0, @35 0
month    | void grant @29, renew @30                                         | @30 1000
month    | renew @30, void grant @31                                         | @31 1000
month    | renew @30, use 200 #1 @31, void #1 @32, void grant @33            | @31 1300, @32 1500, @33 1000
month    | renew @30, use 700 #1 @31, void #1 @32                            | @31 800, @32 1500, @59 0+500
month    | renew @30, open 700 #1 @31, release #1 @32                        | @31 800, @32 1500, @59 0+500
month    | renew @30, use 200 #1 @31, void grant @32                         | !grant_spent 200, @32 1300
month    | renew @30, use 700 #1 @31, pause @32, void #1 @33, resume @34     | @33 0+1500, @34 1500, @60 1500, @61 0+500
month    | renew @30, pause @32, void grant @33                              | @33 0+1000
month    | renew @30, pause @32, resume @34, void grant @35                  | !grant_moved 0, @35 1500
month    | renew @28, use 700 #1 @28, void #1 @28, void grant @28            | @28 1000
month    | renew @28, use 700 #1 @28, void grant @28                         | !grant_spent 500, @28 800
month    | void grant debt @35                                               | !grant_expired 0, @35 0
month    | cancel @30, void grant debt @31                                   | !grant_expired 0, @31 0
ten days | use 40 #1 @31, void #1 @33                                        | @30 100, @31 60, @33 100, @35 0
ten days | use 40 #1 @31, void #1 @36                                        | @31 60, @35 0, @36 0
ten days | use 100 #1 @31, void #1 @36                                       | @31 0, @36 0
ten days | use 40 #1 @31, cancel @32, void #1 @33                            | @31 60, @32 0, @33 0
ten days | use 40 #1 @31, cancel @32, void #1 @32                            | @32 0
ten days | use 40 #1 @31, void #1 @32, cancel @32                            | @32 0
ten days | open 40 #1 @31, release #1 @36                                    | @31 60, @36 0
ten days | open 40 #1 @31, commit 10 #1 @36                                  | @31 60, @36 0
ten days | open 40 #1 @31, commit 50 #1 @36                                  | @31 60, @36 -10
ten days | use 40 #1 @31, renew @33, void #1 @36                             | @33 160, @36 200, @39 200
ten days | use 40 #1 @31, void grant @33                                     | !grant_spent 40, @33 60
ten days | use 40 #1 @31, void grant debt @33, void #1 @36                   | @33 -40, @36 0
ten days | use 40 #1 @31, void grant debt @36                                | !grant_expired 0, @36 0
ten days | use 40 #1 @21, pause @22, resume @23, cancel @30                  | @21 160, @30 160, @31 0
ten days | use 40 #1 @21, pause @22, resume @23, void #1 @30, cancel @30     | @29 160, @30 200, @31 0
ten days | use 40 #1 @21, pause @22, resume @23, cancel @30, void #1 @30     | @29 160, @30 200, @31 0
"""
LAWS = (
    what_comes_back_lives_its_time,
    only_what_is_not_paid_for_waits_or_is_lost,
    what_a_pause_sets_aside_waits,
    the_proof_accepts_it,
    any_cut,
)
ROWS = [[cell.strip() for cell in line.split("|")] for line in CASES.strip().splitlines()[1:]]


def terms_of(offer: str) -> SubscriptionTerms:
    """The offer by its name."""
    every, amount, share = OFFERS[offer]
    template = structs.replace(grant(10, amount, every), rollover=RolloverRule(share, None))
    return structs.replace(plan(1, template, mode=PREPAID), grace_period_days=7)


def rolled_over(offer: str) -> UUID:
    """The block that rolls over last before the grace is over: the id is the same, whatever is done."""
    rows = begun(terms_of(offer))
    rows.post([tick("user", STARTS_AT + 30 * DAY)])
    return max((b.effective_at, b.id) for b in rows.blocks.values() if b.source == "rollover")[1]


DEEDS = [
    *["use 40 #1", "use 400 #2", "void #1", "void #2", "open 40 #3", "release #3", "commit 10 #3"],
    *["void grant debt", "pause", "resume", "renew", "cancel"],
]
DAYS = [21, 22, 23, 30, 31, 32, 36]


@settings(LAW, max_examples=500)
@given(
    st.sampled_from([*OFFERS]),
    st.lists(st.tuples(st.sampled_from(DAYS), st.sampled_from(DEEDS)), min_size=4, unique_by=lambda each: each[1]),
)
def test_whatever_is_done_keeps_the_laws(offer: str, done: list[tuple[int, str]]) -> None:
    """24, 28-31, 40: around the end of a period that is paid for late or never, perhaps with a pause about it."""
    rows, rolled = begun(terms_of(offer)), rolled_over(offer)
    steps = [f"{deed} @{day}" for day, deed in sorted(done, key=lambda each: each[0])]
    entries = [entry_of(number, step, rolled) for number, step in enumerate(steps, 1)]
    entries.append(tick("user", STARTS_AT + 50 * DAY))
    post(rows, entries, 1)
    life = Life([], [Part(rows.catalogue, [subscribing(terms_of(offer)), *entries])], rows)
    for law in LAWS:
        law(life)


@pytest.mark.parametrize(("offer", "steps", "seen"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS])
@pytest.mark.parametrize("size", [1, 100])
def test_the_table(offer: str, steps: str, seen: str, size: int) -> None:
    """Step by step, or all of a look in one batch: what is seen at each moment is what the table says, and proven."""
    rows, rolled = begun(terms_of(offer)), rolled_over(offer)
    look_at(rows, [entry_of(number, step, rolled) for number, step in enumerate(steps.split(", "), 1)], seen, size)
    the_proof_accepts_it(Life([], [], rows))


def test_nothing_that_comes_back_is_lost_without_a_reason() -> None:
    """31: where its subscription has not ended for want of a payment, it should be in its block again."""
    rows, rolled = begun(terms_of("ten days")), rolled_over("ten days")
    post(rows, [entry_of(1, "open 40 #1 @31", rolled), entry_of(2, "release #1 @36", rolled)], 1)
    assert findings_of(rows) == []
    rows.history = [change for change in rows.history if change.state_after != State.EXPIRED]
    assert [(finding.invariant, finding.message.split()[0]) for finding in findings_of(rows)] == [
        (31, "debt"),
        (31, "expired"),
    ]
