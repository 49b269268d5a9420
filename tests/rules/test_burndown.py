"""Burn-down: the laws that make a draw explainable (invariants 22, 23, 25, 26 and 27)."""

from dataclasses import dataclass
from itertools import pairwise
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.rules.burndown import (
    Block,
    Draw,
    burn_order,
    is_eligible,
    plan_draws,
    sort_blocks,
)
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
@given(cases, amounts)
def test_planning_changes_nothing(case: Case, amount_micro: int) -> None:
    """27: same input, same output; a plan is only a plan."""
    before = [structs.replace(block) for block in case.blocks]
    assert case.plan(amount_micro) == case.plan(amount_micro)
    assert case.blocks == before


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
    rows = [[cell.strip() for cell in line.split("|")] for line in ORDER.strip().splitlines()[1:]]
    names: dict[UUID, str] = {}
    blocks: list[Block] = []
    for number, (name, priority, expires, paid, granted) in enumerate(rows):
        block_id = UUID(int=len(rows) - number)  # against the order, so that no id decides it
        names[block_id] = name
        expires_at = NEVER_AT if expires == "never" else int(expires)
        blocks.append(Block(block_id, 1, int(priority), paid == "yes", 1, 0, expires_at, int(granted)))
    assert [names[block.id] for block in sort_blocks(blocks[::-1])] == [row[0] for row in rows]
