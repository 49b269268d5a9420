"""How many users there are, and when: shapes as lists of stages, each bounded in time and users."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

STEPS = 5
"""Of a ramp."""
CALM_SHARE = 4
"""Before and after a spike there is one of so many users."""
SPIKE_BEGINS, SPIKE_ENDS = 0.4, 0.6
"""In shares of the run."""


class Stage(NamedTuple):
    """So many users, until so many seconds after the start."""

    until_seconds: float
    users: int


def steady(users: int, seconds: float) -> list[Stage]:
    """All of them, all the time."""
    return [Stage(seconds, users)]


def ramp(users: int, seconds: float) -> list[Stage]:
    """More with every step, each as long as the others; all of them in the last."""
    return [Stage(seconds * step / STEPS, -(-users * step // STEPS)) for step in range(1, STEPS + 1)]


def spike(users: int, seconds: float) -> list[Stage]:
    """Few, then suddenly all of them, then few again."""
    few = -(-users // CALM_SHARE)
    return [Stage(seconds * SPIKE_BEGINS, few), Stage(seconds * SPIKE_ENDS, users), Stage(seconds, few)]


STAGES: Mapping[str, Callable[[int, float], list[Stage]]] = MappingProxyType(
    {"steady": steady, "ramp": ramp, "spike": spike}
)


def users_at(stages: Sequence[Stage], elapsed_seconds: float) -> int | None:
    """How many users there are to be; None once the run is over."""
    return next((stage.users for stage in stages if elapsed_seconds < stage.until_seconds), None)
