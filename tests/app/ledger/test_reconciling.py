"""What two looks say together: what only one of them saw, and what is under way, is no drift."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from app.io.redis import AccountView
from app.ledger.figures_proof import Figures
from app.ledger.reconciling import EdgeSide, LedgerSide, Look, find, is_suspect, judge
from app.ledger.store import PartitionCursor
from app.rules import totals

INCARNATION = UUID(int=9)
FIGURES = Figures(UUID(int=1), 3, 3, b"h" * 32, b"h" * 32, 70, 70, 0, 70)


def look(revision: int = 5, at: int = 10, told: int | None = None, published: int | None = None) -> Look:
    """An account at a revision, its ledger's cursor, the revision that the edge has, and how far that was published."""
    ledger = LedgerSide(
        UUID(int=2),
        "u",
        FIGURES,
        revision,
        30,
        has_base=True,
        is_checkpointed=True,
        is_gapless=True,
        is_dirty=False,
        cursor=PartitionCursor(INCARNATION, (at, 0)),
    )
    view = AccountView(revision if told is None else told, 70, 30, 30, 0, 0, "s", "none", 0)
    return Look(ledger, EdgeSide(view, (at if published is None else published, 0), 0))


def accepting(seen: Look, accepted: int, costs: int | None) -> Look:
    """The same where the edge has accepted so much, and so much of it waits."""
    assert seen.edge is not None
    view = replace(seen.edge.view, accepted_micro=totals.wrap(accepted))
    return replace(seen, edge=replace(seen.edge, view=view, costs_micro=costs))


def numbers(first: Look, second: Look) -> list[int]:
    """The invariants that do not hold by two looks."""
    return [finding.invariant for finding in judge(first, second)]


def test_what_agrees_is_not_suspect() -> None:
    """At rest, and with entries that wait."""
    for seen in (look(), accepting(look(), 42, 12), accepting(look(), 42, None), look().of_ledger()):
        assert not find(seen)
        assert not is_suspect(seen)
        assert numbers(seen, seen) == []


def test_one_look_is_never_enough() -> None:
    """What was there at the first and is gone at the second, or the other way round, is told by nobody."""
    bad = accepting(look(), 31, 0)
    assert is_suspect(bad)
    assert numbers(bad, look()) == numbers(look(), bad) == []
    assert numbers(bad, bad) == [34]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # The edge is behind: it goes on, it waits for a publish, somebody is about to publish, nobody is.
        (look(5, 10, told=4), look(7, 12, told=5), []),
        (look(5, 10, told=4), look(5, 10, told=4, published=9), []),
        (look(5, 10, told=4), look(5, 10, told=4), [42]),
        (look(5, 10, told=4), look(9, 20, told=4), [42]),
        (look(5, 10, told=4), look(9, 20, told=4, published=19), []),
        # The edge is ahead: the ledger has come there by now, or it never will, or was restored.
        (look(5, 10, told=6, published=11), look(6, 11), []),
        (look(5, 10, told=6), look(5, 10, told=6), [37]),
        (look(5, 10, told=6, published=15), look(5, 10, told=6, published=15), []),
    ],
)
def test_revisions(first: Look, second: Look, expected: list[int]) -> None:
    """They only rise: what the edge was told before is what counts."""
    assert numbers(first, second) == expected


def test_whoever_is_about_to_publish_is_waited_for() -> None:
    """A mark in the ledger says so."""
    marked = look(5, 10, told=4)
    marked = replace(marked, ledger=replace(marked.ledger, is_dirty=True))
    assert numbers(look(5, 10, told=4), marked) == []


def test_a_memory_that_went_back_is_not_held_against_the_ledger() -> None:
    """The flusher begins anew with it; until then its figures are those of former times."""
    assert not find(accepting(look(5, 10, published=8), 12, 0))


@pytest.mark.parametrize(
    ("figures", "invariants"),
    [
        ({"last_seq": 2}, [10]),
        ({"last_hash": b"x" * 32}, [9]),
        ({"entries_micro": 71}, [13]),
        ({"remaining_micro": 71}, [3]),
        ({"debt_micro": 1}, [3]),
        ({"total_micro": 71}, [13, 3, 42]),
    ],
)
def test_figures_of_the_ledger(figures: dict[str, int], invariants: list[int]) -> None:
    """Each is compared."""
    seen = look()
    bad = replace(seen, ledger=replace(seen.ledger, figures=replace(FIGURES, **figures)))
    assert numbers(bad, bad) == invariants
