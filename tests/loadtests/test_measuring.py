"""Two sides in turn, and what their rounds say."""

import pytest

from loadtests.measuring import Comparison, Goal, Result, Run, Side, compare, median_run


def result(subject: list[float], baseline: list[float], goal: Goal = Goal()) -> Result:  # noqa: B008 - it is frozen
    """A result of these rates, with a latency of a thousandth of each."""
    ours = [Run(rate, rate / 1000) for rate in subject]
    theirs = [Run(rate, rate / 1000) for rate in baseline]
    return Result("a", "events", "ours", "theirs", "", goal, ours, theirs)


def test_sides_run_in_turn_and_take_turns_in_going_first() -> None:
    """After a warm-up of each, every round runs both, and the next round begins with the other one."""
    ran: list[tuple[str, int]] = []

    def side(name: str, rate: float) -> Side:
        def run(seconds: int) -> Run:
            ran.append((name, seconds))
            return Run(rate)

        return run

    told: list[str] = []
    comparison = Comparison("a", "events", "ours", "theirs", "", side("s", 50), side("b", 200))
    compared = compare(comparison, rounds=3, seconds=7, tell=told.append)
    assert ran[:2] == [("s", 1), ("b", 1)]
    assert ran[2:] == [("s", 7), ("b", 7), ("b", 7), ("s", 7), ("s", 7), ("b", 7)]
    assert compared.rate_ratios == [0.25] * 3
    assert len(told) == 3


def test_ratio_is_taken_round_by_round() -> None:
    """A machine that was busy for one round halves both sides of it and leaves the ratio alone."""
    compared = result([100, 50, 100], [400, 200, 400])
    assert compared.rate_ratio == 0.25
    assert compared.p50_ratio == 0.25


def test_ratio_of_latencies_needs_both_sides() -> None:
    """Without latencies there is no ratio of them."""
    assert Result("a", "events", "", "", "", Goal(), [Run(1.0)], [Run(2.0, 5.0)]).p50_ratio is None


@pytest.mark.parametrize(
    ("goal", "meets"),
    [
        (Goal(), None),
        (Goal(least_rate_ratio=0.25), True),
        (Goal(least_rate_ratio=0.26), False),
        (Goal(most_p50_ratio=0.25), True),
        (Goal(most_p50_ratio=0.24), False),
        (Goal(least_rate_ratio=0.25, most_p50_ratio=0.24), False),
        (Goal(least_rate=100), True),
        (Goal(least_rate_ratio=0.25, least_rate=101), False),
    ],
    ids=str,
)
def test_goal_is_met_only_in_all_its_parts(goal: Goal, meets: bool | None) -> None:  # noqa: FBT001 - a column of the table
    """Where there is no goal, nothing is said."""
    assert result([100], [400], goal).meets_goal is meets


def test_median_of_runs_takes_each_figure_by_itself() -> None:
    """The middle rate and the middle latency may be of different runs."""
    assert median_run([Run(1, 30), Run(2, 10), Run(3, 20)]) == Run(2, 20)
    assert median_run([Run(1), Run(3)]) == Run(2)
