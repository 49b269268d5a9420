"""When something changes by itself, and in which order."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.rules.boundaries import boundary_of, boundary_of_account, next_boundary, next_due
from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.rules.periods import Counting, Period, calendar_month
from tests.rules.laws import LAW

moments = st.integers(0, 6)
block_lists = st.lists(
    st.builds(
        Block,
        id=st.integers(0, 1000).map(lambda number: UUID(int=number)),
        remaining_micro=st.integers(0, 3),
        priority=st.just(1),
        paid=st.just(value=False),
        known_revision=st.integers(1, 3),
        effective_at=moments,
        expires_at=st.one_of(st.integers(7, 12), st.just(NEVER_AT)),
        granted_at=st.just(0),
        is_scheduled=st.booleans(),
    ),
    max_size=7,
    unique_by=lambda block: block.id,
)


@LAW
@given(block_lists)
def test_nothing_is_due_before_the_boundary(blocks: list[Block]) -> None:
    """At it, unless it is never, something is."""
    boundary = next_boundary(blocks)
    assert next_due(blocks, boundary - 1, 3) is None
    assert boundary == NEVER_AT or next_due(blocks, boundary, 3) is not None


@LAW
@given(block_lists, st.integers(0, 12), st.integers(1, 3))
def test_all_that_is_due_comes_in_order(blocks: list[Block], at: int, revision: int) -> None:
    """Each block changes when it may: granted once, expired with what it has; what was not known waits."""
    seen: list[tuple[int, bool]] = []
    while (block := next_due(blocks, at, revision)) is not None:
        seen.append((boundary_of(block), block.is_scheduled))
        if block.is_scheduled:
            assert block.known_revision <= revision
            block.is_scheduled = False
        else:
            block.remaining_micro = 0
    assert [moment for moment, _ in seen] == sorted(moment for moment, _ in seen)
    left = [block for block in blocks if boundary_of(block) <= at]
    assert all(block.is_scheduled and block.known_revision > revision for block in left)


def test_what_expires_at_a_moment_is_gone_before_anything_is_granted_at_it() -> None:
    """A period ends where the next begins: what a cap counts is what is left then."""
    old = Block(UUID(int=9), 5, 1, False, 1, 0, 7, 0)  # noqa: FBT003 - not paid
    new = Block(UUID(int=1), 5, 1, False, 1, 7, NEVER_AT, 0, is_scheduled=True)  # noqa: FBT003 - not paid
    assert next_due([new, old], 7, 1) is old


@LAW
@given(st.tuples(moments, moments, moments, moments))
def test_whatever_comes_first_is_the_accounts_boundary(at: tuple[int, int, int, int]) -> None:
    """A block, the period, an agenda, a snapshot; a period that a subscription turns is none of them."""
    blocks_at, end_at, agenda_at, composed_until = at
    period, months = Period(-1, end_at), calendar_month("UTC")
    others = min(blocks_at, agenda_at, composed_until)
    assert boundary_of_account(blocks_at, Counting(months, period), agenda_at, composed_until) == min(at)
    assert boundary_of_account(blocks_at, Counting(None, period), agenda_at, composed_until) == others
    assert boundary_of_account(blocks_at, None, agenda_at, composed_until) == others
