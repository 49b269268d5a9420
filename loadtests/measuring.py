"""Two sides in turn, round after round: medians, and the ratio of what ran side by side."""

from collections.abc import Callable, Sequence
from statistics import median

import msgspec

WARM_UP_SECONDS = 1


class WrongResult(Exception):
    """A side was not what it should be: errors, or a balance that does not add up. Its speed is worth nothing."""


class Run(msgspec.Struct, frozen=True):
    """What one side did in one round."""

    rate_per_second: float
    p50_microseconds: float | None = None


Side = Callable[[int], Run]
"""Runs one side for about so many seconds. Raises WrongResult."""


class Goal(msgspec.Struct, frozen=True):
    """What the ratios of subject to baseline should be, and what the subject should do a second whatever else does."""

    least_rate_ratio: float | None = None
    most_p50_ratio: float | None = None
    least_rate: float | None = None


class Comparison(msgspec.Struct, frozen=True):
    """A subject, what it is measured against, and what both of them do."""

    name: str
    unit: str
    subject: str
    baseline: str
    what: str
    run_subject: Side
    run_baseline: Side
    goal: Goal = Goal()


class Result(msgspec.Struct, frozen=True):
    """The rounds of a comparison; the runs at one index ran one after the other."""

    name: str
    unit: str
    subject: str
    baseline: str
    what: str
    goal: Goal
    subject_runs: list[Run]
    baseline_runs: list[Run]

    @property
    def rate_ratios(self) -> list[float]:
        """Subject to baseline, round by round."""
        pairs = zip(self.subject_runs, self.baseline_runs, strict=True)
        return [ours.rate_per_second / theirs.rate_per_second for ours, theirs in pairs]

    @property
    def rate_ratio(self) -> float:
        """The median of the rounds' ratios: what disturbs the machine for a while disturbs both sides of a round."""
        return median(self.rate_ratios)

    @property
    def p50_ratio(self) -> float | None:
        """The same of the median latencies, where both sides have one."""
        pairs = zip(self.subject_runs, self.baseline_runs, strict=True)
        ratios = [
            ours.p50_microseconds / theirs.p50_microseconds
            for ours, theirs in pairs
            if ours.p50_microseconds and theirs.p50_microseconds
        ]
        return median(ratios) if ratios else None

    @property
    def meets_goal(self) -> bool | None:
        """None where there is no goal."""
        met: list[bool] = []
        if self.goal.least_rate_ratio is not None:
            met.append(self.rate_ratio >= self.goal.least_rate_ratio)
        if self.goal.most_p50_ratio is not None and self.p50_ratio is not None:
            met.append(self.p50_ratio <= self.goal.most_p50_ratio)
        if self.goal.least_rate is not None:
            met.append(median_run(self.subject_runs).rate_per_second >= self.goal.least_rate)
        return all(met) if met else None


class Measure(msgspec.Struct, frozen=True):
    """A figure by itself: a size, or what something costs."""

    name: str
    unit: str
    value: float
    what: str
    most: float | None = None
    """What it should be at most."""

    @property
    def meets_goal(self) -> bool | None:
        """None where there is no goal."""
        return None if self.most is None else self.value <= self.most


def median_run(runs: Sequence[Run]) -> Run:
    """The medians of some runs, each figure by itself."""
    latencies = [run.p50_microseconds for run in runs if run.p50_microseconds is not None]
    return Run(median(run.rate_per_second for run in runs), median(latencies) if latencies else None)


def compare(comparison: Comparison, rounds: int, seconds: int, tell: Callable[[str], None]) -> Result:
    """Warm both sides up, then run them in turn; who goes first changes with every round. Raises WrongResult."""
    sides = {"subject": comparison.run_subject, "baseline": comparison.run_baseline}
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for run_side in sides.values():
        run_side(WARM_UP_SECONDS)
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in order:
            runs[name].append(sides[name](seconds))
        ours, theirs = runs["subject"][-1].rate_per_second, runs["baseline"][-1].rate_per_second
        tell(f"{comparison.name}: {ours:,.0f} against {theirs:,.0f} {comparison.unit}/s, ratio {ours / theirs:.3f}")
    return Result(
        comparison.name,
        comparison.unit,
        comparison.subject,
        comparison.baseline,
        comparison.what,
        comparison.goal,
        runs["subject"],
        runs["baseline"],
    )
