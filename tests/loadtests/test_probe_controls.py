"""Each probe passes where the product keeps its promise, and fails where it breaks it: none of them cannot fail."""

import pytest

from loadtests.load.plan import PROBED
from loadtests.probes import PROBES
from loadtests.probes.probe import Target
from loadtests.probes.running import run_probe, run_probes
from tests.loadtests.toy_product import Fault, ToyProduct


def target_of(toy: ToyProduct, *, has_processes: bool = True) -> Target:
    """A run of no length, on a product in memory."""
    processes = toy if has_processes else None
    return Target(toy, toy, toy.opened, "toy", f"toy.{PROBED}", 0, 1, kills=5, processes=processes)


async def test_every_probe_passes_where_every_promise_is_kept() -> None:
    """All of them, side by side, as in a run."""
    results = await run_probes(PROBES.values(), target_of(ToyProduct()))
    assert [(result.name, result.has_passed) for result in results] == [(name, True) for name in PROBES]


@pytest.mark.parametrize(
    ("name", "fault", "finding"),
    [
        ("race", Fault.DECIDES_BEFORE_IT_TAKES, "500 of 500 spends were accepted, not 100"),
        ("race", Fault.REFUSES_THE_LAST, "99 of 500 spends were accepted, not 100"),
        ("reserve", Fault.DECIDES_BEFORE_IT_TAKES, "100 of 100 reservations were made, not 20"),
        ("reserve", Fault.KEEPS_WHAT_WAS_NOT_USED, "balance in millionths is"),
        ("reserve", Fault.ENDS_TWICE, "was answered with"),
        ("reserve", Fault.HIDES_THAT_IT_IS_LATE, "late is False, not True"),
        ("replay", Fault.CHARGES_EVERY_REPEAT, "the ledger has 293 credits left"),
        ("replay", Fault.ANSWERS_REPEATS_ANEW, "different answers"),
        ("freshness", Fault.SHOWS_AN_OLD_BALANCE, "the balance by the edge is 1000000000000 millionths"),
        ("void", Fault.VOIDS_TWICE, "201"),
        ("void", Fault.KEEPS_WHAT_WAS_VOIDED, "the ledger has 993 credits left"),
        ("crash", Fault.LOSES_WHAT_WAS_LAST, "lost"),
        ("crash", Fault.POSTS_THE_LAST_TWICE, "more than once"),
        ("crash", Fault.REFUSES_IN_BATCHES, "was refused: invalid_value"),
    ],
)
async def test_probe_fails_where_its_promise_is_broken(name: str, fault: Fault, finding: str) -> None:
    """It says what it saw."""
    result = await run_probe(PROBES[name], target_of(ToyProduct(fault)))
    assert result.has_passed is False
    assert finding in result.finding


def test_every_probe_has_a_control() -> None:
    """Whoever adds a probe shows here that it can fail."""
    marks = test_probe_fails_where_its_promise_is_broken.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(PROBES)


async def test_crashes_are_left_out_where_the_processes_are_not_ours() -> None:
    """With the reason, and counted neither as passed nor as failed."""
    results = await run_probes(PROBES.values(), target_of(ToyProduct(), has_processes=False))
    left_out = [(result.name, result.finding) for result in results if result.has_passed is None]
    assert left_out == [("crash", "the processes are not ours to kill")]
