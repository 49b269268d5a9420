"""Burn-down: the laws that make a draw explainable (invariants 22, 23, 25, 26 and 27), caps and rollover (49)."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.rules.burndown import (
    Block,
    Criterion,
    Draw,
    Outcome,
    behind_by,
    burn_order,
    explain,
    granted_under_cap,
    is_eligible,
    plan_draws,
    rolled_over,
    sort_blocks,
)
from app.rules.credits import MAX_BALANCE_MICRO, MICRO
from app.rules.moments import NEVER_AT
from tests.rules.laws import LAW

moments = st.integers(0, 6)
amounts = st.integers(0, 400)
block_lists = st.lists(
    st.builds(
        Block,
        id=st.integers(0, 1000).map(lambda number: UUID(int=number)),
        remaining_micro=st.integers(0, 90),
        priority=st.integers(0, 2),
        paid=st.booleans(),
        known_revision=st.integers(1, 3),
        effective_at=moments,
        expires_at=st.one_of(moments, st.just(NEVER_AT)),
        granted_at=moments,
    ),
    max_size=7,
    unique_by=lambda block: block.id,
)


@dataclass(frozen=True)
class Case:
    """Blocks in burn order, and who asks: an entry accepted `at` by an edge that knew `revision`."""

    blocks: list[Block]
    at: int
    revision: int

    def plan(self, amount_micro: int) -> tuple[list[Draw], int]:
        """Draws for an amount, and what is not covered."""
        return plan_draws(self.blocks, amount_micro, self.at, self.revision)

    def is_eligible(self, block: Block) -> bool:
        """By the words of the invariants, not by the code's."""
        in_force = block.effective_at <= self.at < block.expires_at
        return in_force and block.known_revision <= self.revision and block.remaining_micro > 0


cases = st.builds(Case, block_lists.map(sort_blocks), moments, st.integers(0, 4))


def _taken(draws: list[Draw]) -> dict[UUID, int]:
    return {draw.block.id: draw.amount_micro for draw in draws}


def _apply(case: Case, draws: list[Draw]) -> Case:
    taken = _taken(draws)
    left = [structs.replace(b, remaining_micro=b.remaining_micro - taken.get(b.id, 0)) for b in case.blocks]
    return Case(left, case.at, case.revision)


@LAW
@given(cases, amounts)
def test_draws_and_shortfall_are_the_amount(case: Case, amount_micro: int) -> None:
    """Nothing appears, nothing vanishes; no draw is empty, none takes more than its block has, and none comes twice."""
    draws, uncovered = case.plan(amount_micro)
    assert sum(draw.amount_micro for draw in draws) + uncovered == amount_micro
    assert all(0 < draw.amount_micro <= draw.block.remaining_micro for draw in draws)
    assert len(_taken(draws)) == len(draws)


@LAW
@given(cases, amounts)
def test_only_eligible_blocks_are_drawn(case: Case, amount_micro: int) -> None:
    """23: never from a block that is expired, not yet effective, unknown to the edge, or empty."""
    assert all(case.is_eligible(draw.block) for draw in case.plan(amount_micro)[0])
    assert all(case.is_eligible(block) == is_eligible(block, case.at, case.revision) for block in case.blocks)


@LAW
@given(cases, amounts)
def test_earlier_blocks_are_spent_first(case: Case, amount_micro: int) -> None:
    """22: what is eligible is drawn in order, each to its last before the next; credit runs out only when all has."""
    draws, uncovered = case.plan(amount_micro)
    spent_whole = draws if uncovered else draws[:-1]
    assert all(draw.amount_micro == draw.block.remaining_micro for draw in spent_whole)
    eligible = [block.id for block in case.blocks if case.is_eligible(block)]
    assert list(_taken(draws)) == eligible[: len(draws)]
    assert not uncovered or len(draws) == len(eligible)


@LAW
@given(cases, amounts, amounts)
def test_spending_twice_is_spending_once(case: Case, first: int, second: int) -> None:
    """26: a+b at once = a, then b, block for block."""
    draws, uncovered = case.plan(first)
    rest = _apply(case, draws)
    more, more_uncovered = rest.plan(second)
    at_once, uncovered_at_once = case.plan(first + second)
    assert _apply(rest, more).blocks == _apply(case, at_once).blocks
    assert uncovered + more_uncovered == uncovered_at_once


@LAW
@given(block_lists, st.randoms(use_true_random=False))
def test_order_is_total(blocks: list[Block], random: Random) -> None:
    """25: the order in which blocks come does not matter, and no two blocks share a place."""
    shuffled = list(blocks)
    random.shuffle(shuffled)
    assert sort_blocks(shuffled) == sort_blocks(blocks)
    assert all(burn_order(before) < burn_order(after) for before, after in pairwise(sort_blocks(blocks)))


@LAW
@given(cases, amounts, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(case: Case, amount_micro: int, random: Random) -> None:
    """25: the same grants, posted in whatever order, are drawn alike and leave the same, block for block."""
    arrived: list[Block] = []
    for block in random.sample(case.blocks, len(case.blocks)):
        arrived = sort_blocks([*arrived, block])
    other = Case(arrived, case.at, case.revision)
    assert other.plan(amount_micro) == case.plan(amount_micro)
    assert _apply(other, other.plan(amount_micro)[0]) == _apply(case, case.plan(amount_micro)[0])


@LAW
@given(cases, amounts)
def test_planning_changes_nothing(case: Case, amount_micro: int) -> None:
    """27: same input, same output; a plan is only a plan."""
    before = [structs.replace(block) for block in case.blocks]
    assert case.plan(amount_micro) == case.plan(amount_micro)
    assert case.blocks == before


@LAW
@given(cases, amounts, amounts)
def test_an_explanation_is_what_happens(case: Case, amount_micro: int, owed_micro: int) -> None:
    """What it says is drawn is what `plan_draws` draws, of what is owed first and then of the amount."""
    explanation = explain(case.blocks, amount_micro, case.at, case.revision, owed_micro=owed_micro)
    assert [step.block for step in explanation.steps] == case.blocks
    owed, _ = case.plan(owed_micro)
    draws, shortfall_micro = _apply(case, owed).plan(amount_micro)
    assert {step.block.id: step.owed_micro for step in explanation.steps if step.owed_micro} == _taken(owed)
    assert {step.block.id: step.drawn_micro for step in explanation.steps if step.drawn_micro} == _taken(draws)
    assert explanation.shortfall_micro == shortfall_micro
    assert sum(step.drawn_micro for step in explanation.steps) + shortfall_micro == amount_micro


@LAW
@given(cases, amounts, amounts)
def test_every_reason_is_true(case: Case, amount_micro: int, owed_micro: int) -> None:
    """Each outcome by its words: who may be drawn from, what is drawn, what was left; of several the first."""
    means = {
        Outcome.EMPTY: lambda step, _: not step.block.remaining_micro,
        Outcome.EXPIRED: lambda step, _: step.block.expires_at <= case.at,
        Outcome.NOT_YET_EFFECTIVE: lambda step, _: case.at < step.block.effective_at,
        Outcome.NOT_YET_KNOWN: lambda step, _: case.revision < step.block.known_revision,
        Outcome.SPOKEN_FOR: lambda step, left: step.owed_micro and not left,
        Outcome.DRAWN_WHOLE: lambda step, left: step.drawn_micro == left > 0,
        Outcome.DRAWN_IN_PART: lambda step, left: 0 < step.drawn_micro < left,
        Outcome.NOT_NEEDED: lambda step, left: not step.drawn_micro and left,
    }
    eligible = {Outcome.SPOKEN_FOR, Outcome.DRAWN_WHOLE, Outcome.DRAWN_IN_PART, Outcome.NOT_NEEDED}
    for step in explain(case.blocks, amount_micro, case.at, case.revision, owed_micro=owed_micro).steps:
        assert means[step.outcome](step, step.block.remaining_micro - step.owed_micro)
        assert (step.outcome in eligible) == case.is_eligible(step.block)
        if step.outcome not in eligible:
            assert step.owed_micro == step.drawn_micro == 0
            left_micro = step.block.remaining_micro
            assert step.outcome is next(outcome for outcome in Outcome if means[outcome](step, left_micro))


@LAW
@given(cases)
def test_the_criterion_is_the_first_difference(case: Case) -> None:
    """All criteria before the named one are equal, and the named one orders the two; the first block has none."""
    steps = explain(case.blocks, 0, case.at, case.revision).steps
    assert [step.behind_by for step in steps[:1]] == [None] * len(steps[:1])
    order = list(Criterion)
    for before, step in pairwise(steps):
        named = behind_by(before.block, step.block)
        assert step.behind_by is named
        until = order.index(named) + 1
        earlier, later = burn_order(before.block), burn_order(step.block)
        assert earlier[: until - 1] == later[: until - 1]
        assert earlier[:until] < later[:until]


@LAW
@given(st.integers(0, MAX_BALANCE_MICRO), st.integers(0, MAX_BALANCE_MICRO), st.integers(0, MAX_BALANCE_MICRO))
def test_a_grant_never_lifts_above_the_cap(amount_micro: int, held_micro: int, cap_micro: int) -> None:
    """At most the grant, at most the room; all of it where it fits; nothing is taken from who holds more already."""
    granted_micro = granted_under_cap(amount_micro, held_micro, cap_micro)
    assert 0 <= granted_micro <= amount_micro
    assert held_micro + granted_micro <= max(held_micro, cap_micro)
    assert granted_micro == amount_micro or held_micro + granted_micro >= cap_micro
    assert granted_under_cap(amount_micro, held_micro, None) == amount_micro


@LAW
@given(*[st.integers(0, 10**6)] * 3, st.integers(0, 10**7))
def test_two_grants_under_a_cap_are_one(first_micro: int, second_micro: int, held_micro: int, cap_micro: int) -> None:
    """A grant cut in two fills the same room, and of two grants it does not matter which comes first."""
    once = granted_under_cap(first_micro, held_micro, cap_micro)
    twice = once + granted_under_cap(second_micro, held_micro + once, cap_micro)
    assert twice == granted_under_cap(first_micro + second_micro, held_micro, cap_micro)


@LAW
@given(st.integers(0, MAX_BALANCE_MICRO), st.integers(0, MICRO), st.none() | st.integers(0, MAX_BALANCE_MICRO))
def test_unused_is_rolled_over_plus_expired(unused_micro: int, share_millionths: int, cap_micro: int | None) -> None:
    """49: what goes on and what expires are the unused credit: neither is below zero, and no rounding makes credit."""
    rolled_micro = rolled_over(unused_micro, share_millionths, cap_micro)
    assert 0 <= rolled_micro <= unused_micro
    exact = Fraction(unused_micro * share_millionths, MICRO)
    assert rolled_micro <= exact
    assert rolled_micro == cap_micro or exact - rolled_micro < 1
    assert cap_micro is None or rolled_micro <= cap_micro
    assert rolled_over(unused_micro, MICRO, None) == unused_micro
    assert rolled_over(unused_micro, 0, cap_micro) == 0


@LAW
@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, MICRO))
def test_more_unused_never_rolls_over_less(unused_micro: int, more_micro: int, share_millionths: int) -> None:
    """Who saves more has more; cutting a remainder in two gains nothing."""
    both = rolled_over(unused_micro + more_micro, share_millionths, None)
    parts = rolled_over(unused_micro, share_millionths, None) + rolled_over(more_micro, share_millionths, None)
    assert parts <= both <= parts + 1
    assert rolled_over(unused_micro, share_millionths, None) <= both


def _rows(table: str) -> Iterator[list[str]]:
    """Cells of a table below its head."""
    for line in table.strip().splitlines()[1:]:
        yield [cell.strip() for cell in line.split("|")]


def _micro(cell: str) -> int:
    micro = Fraction(cell) * MICRO
    assert micro.denominator == 1
    return int(micro)


def _cap(cell: str) -> int | None:
    return None if cell == "none" else _micro(cell)


ORDER = """
name         | priority | expires | paid | granted
urgent       | 10       | never   | yes  | 5
soon, free   | 100      | 20      | no   | 5
soon, paid   | 100      | 20      | yes  | 1
later, free  | 100      | 30      | no   | 1
later, paid  | 100      | 30      | yes  | 1
never, older | 100      | never   | no   | 1
never, newer | 100      | never   | no   | 2
never, paid  | 100      | never   | yes  | 1
reserve      | 200      | 5       | no   | 1
"""


def test_published_order() -> None:
    """The order that is published: priority, expiry with never last, free before paid, granted_at."""
    rows = list(_rows(ORDER))
    names: dict[UUID, str] = {}
    blocks: list[Block] = []
    for number, (name, priority, expires, paid, granted) in enumerate(rows):
        block_id = UUID(int=len(rows) - number)  # against the order, so that no id decides it
        names[block_id] = name
        expires_at = NEVER_AT if expires == "never" else int(expires)
        blocks.append(Block(block_id, 1, int(priority), paid == "yes", 1, 0, expires_at, int(granted)))
    assert [names[block.id] for block in sort_blocks(blocks[::-1])] == [row[0] for row in rows]


# What finance asks. It is day 10; usage of 5 credits is recorded and not posted yet; someone is about to spend 120.
# Days are moments: what is there until day 31 is gone on it.
EXPLAINED = """
block            | priority | from | until | paid | left | pending | spent | why               | its place by
gift of the boss | 10       | 1    | never | no   | 0    | 0       | 0     | empty             |
trial, over      | 50       | 1    | 10    | no   | 30   | 0       | 0     | expired           | priority
small gift       | 100      | 1    | 20    | no   | 5    | 5       | 0     | spoken_for        | priority
monthly plan     | 100      | 1    | 31    | no   | 40   | 0       | 40    | drawn_whole       | expires_at
bought this week | 100      | 7    | 31    | yes  | 60   | 0       | 60    | drawn_whole       | free_before_paid
next week's      | 100      | 15   | 40    | no   | 500  | 0       | 0     | not_yet_effective | expires_at
bought in spring | 100      | 2    | never | yes  | 25   | 0       | 20    | drawn_in_part     | expires_at
bought in summer | 100      | 3    | never | yes  | 25   | 0       | 0     | not_needed        | granted_at
its twin         | 100      | 3    | never | yes  | 25   | 0       | 0     | not_needed        | credit_block_id
reserve          | 900      | 1    | 12    | no   | 1000 | 0       | 0     | not_needed        | priority
"""


def test_where_a_hundred_and_twenty_credits_come_from() -> None:
    """Line by line: what is drawn from each block, why, and what put it in its place."""
    rows = list(_rows(EXPLAINED))
    blocks: list[Block] = []
    for number, (_, priority, effective, expires, paid, left, *_) in enumerate(rows):
        expires_at = NEVER_AT if expires == "never" else int(expires)
        block_id = UUID(int=number)
        blocks.append(
            Block(block_id, _micro(left), int(priority), paid == "yes", 1, int(effective), expires_at, int(effective))
        )
    explanation = explain(sort_blocks(blocks), 120 * MICRO, at=10, revision=1, owed_micro=5 * MICRO)
    told = [
        [rows[step.block.id.int][0], step.owed_micro, step.drawn_micro, step.outcome, step.behind_by or ""]
        for step in explanation.steps
    ]
    assert told == [[row[0], _micro(row[6]), _micro(row[7]), *row[8:]] for row in rows]
    assert explanation.shortfall_micro == 0


CAPPED = """
grant | held | cap  | granted
100   | 0    | none | 100
100   | 900  | none | 100
100   | 0    | 150  | 100
100   | 50   | 150  | 100
100   | 51   | 150  | 99
0.5   | 9.75 | 10   | 0.25
100   | 150  | 150  | 0
100   | 200  | 150  | 0
100   | 0    | 0    | 0
"""


def test_what_of_a_grant_fits() -> None:
    """Credits; a customer may hold up to the cap."""
    for grant, held, cap, granted in _rows(CAPPED):
        assert granted_under_cap(_micro(grant), _micro(held), _cap(cap)) == _micro(granted), (grant, held, cap)


ROLLED = """
unused   | percent | at most | rolled over | expires
100      | 100     | none    | 100         | 0
100      | 0       | none    | 0           | 100
100      | 50      | none    | 50          | 50
100      | 50      | 20      | 20          | 80
100      | 12.5    | none    | 12.5        | 87.5
0        | 100     | 10      | 0           | 0
0.000001 | 50      | none    | 0           | 0.000001
0.000003 | 50      | none    | 0.000001    | 0.000002
33.3     | 33.3333 | none    | 11.099988   | 22.200012
"""


def test_what_goes_on_into_the_next_period() -> None:
    """Credits; a share in percent of at most four decimals, rounded down to a millionth of a credit."""
    for unused, percent, at_most, rolled, expires in _rows(ROLLED):
        share_millionths = _micro(percent) // 100
        assert rolled_over(_micro(unused), share_millionths, _cap(at_most)) == _micro(rolled), (unused, percent)
        assert _micro(rolled) + _micro(expires) == _micro(unused)
