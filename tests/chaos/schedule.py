"""What breaks, and when: decided beforehand from a seed, so that a run can be had again."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from tests.faults.links import LINKS

KILLS_A_MINUTE = 8
OTHERS_A_MINUTE = 7
AFTER_SECONDS = 1.0
"""For which a target is left alone when its fault is over."""
SHORTEST_SECONDS = 30.0

FLUSHERS = ("flusher", "flusher_2")
ROLES = ("core", "edge", *FLUSHERS, "jobs")
STORES = ("valkey", "postgres")
VICTIMS = (*FLUSHERS, *FLUSHERS, "edge", "edge", "edge worker", "edge worker", "core", "core", "jobs", *STORES, *STORES)
"""Some are more interesting than others."""
LONGEST_PAUSE_SECONDS = {"flusher": 9.0, "flusher_2": 9.0, "jobs": 5.0}
"""A flusher may be paused for longer than a lease; all others for PAUSE_SECONDS."""
PAUSE_SECONDS = 3.0
LONGEST_LINK_SECONDS = 6.0
LONGEST_DOWN_SECONDS = 4.0
MOST_CUT_BYTES = 3_000
SLOW_BYTES_A_SECOND = (500, 50_000)
OTHERS = ("pause", "pause", "stop", "slow", "stall", "stall", "abandon", "cut", "cut", "refuse")


class Fault(NamedTuple):
    """One thing that goes wrong, from `at_seconds` on and for so long."""

    at_seconds: float
    kind: str
    """kill | pause | stop | slow | stall | abandon | cut | refuse."""
    target: str
    """A role, a store, 'edge worker', or a link."""
    seconds: float
    amount: int = 0
    """Bytes a second of what is slow, bytes before a cut."""
    way: str = ""
    """The direction that is cut or stalled; empty = both."""

    def __str__(self) -> str:
        """As it is printed, when it begins."""
        more = " ".join(filter(None, (str(self.amount or ""), self.way)))
        return f"{self.kind:6} {self.target} for {self.seconds:.1f} s {more}".rstrip()


def make_schedule(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run that lasts so long, by their beginnings: the same for the same seed."""
    chance = Random(f"chaos:{seed}")
    kinds = ["kill"] * _count(KILLS_A_MINUTE, seconds) + ["other"] * _count(OTHERS_A_MINUTE, seconds)
    chance.shuffle(kinds)
    busy_until: dict[str, float] = {}
    return list(_spread(kinds, seconds, chance, busy_until))


def _count(a_minute: int, seconds: float) -> int:
    return max(1, round(a_minute * seconds / 60))


def _spread(kinds: list[str], seconds: float, chance: Random, busy_until: dict[str, float]) -> Iterator[Fault]:
    """One fault in each equal part of the time, on a target that nothing is the matter with at that moment."""
    for number, kind in enumerate(kinds):
        at_seconds = (number + chance.random()) * seconds / len(kinds)
        while True:
            fault = _kill(at_seconds, chance) if kind == "kill" else _other(at_seconds, chance)
            if busy_until.get(_whom(fault), 0.0) <= at_seconds:
                break
        busy_until[_whom(fault)] = at_seconds + fault.seconds + AFTER_SECONDS
        yield fault


def _whom(fault: Fault) -> str:
    return fault.target.removesuffix(" worker")


def _kill(at_seconds: float, chance: Random) -> Fault:
    """Kill -9, or an immediate shutdown of Postgres; started again at once, or after a while."""
    down_seconds = chance.choice((0.0, chance.uniform(0.0, LONGEST_DOWN_SECONDS)))
    return Fault(at_seconds, "kill", chance.choice(VICTIMS), down_seconds)


def _other(at_seconds: float, chance: Random) -> Fault:
    kind = chance.choice(OTHERS)
    match kind:
        case "pause":
            target = chance.choice((*ROLES, *FLUSHERS, "valkey"))
            longest = LONGEST_PAUSE_SECONDS.get(target, PAUSE_SECONDS)
            return Fault(at_seconds, kind, target, chance.uniform(0.2, longest))
        case "stop":
            return Fault(at_seconds, kind, chance.choice(ROLES), chance.uniform(0.0, LONGEST_DOWN_SECONDS))
        case _:
            return _link_fault(at_seconds, kind, chance)


def _link_fault(at_seconds: float, kind: str, chance: Random) -> Fault:
    link, seconds = chance.choice(sorted(LINKS)), chance.uniform(0.5, LONGEST_LINK_SECONDS)
    way = chance.choice(("to server", "to client"))
    match kind:
        case "slow":
            return Fault(at_seconds, kind, link, seconds, chance.randint(*SLOW_BYTES_A_SECOND))
        case "cut":
            return Fault(at_seconds, kind, link, seconds, chance.choice((0, chance.randint(1, MOST_CUT_BYTES))), way)
        case "stall":
            return Fault(at_seconds, kind, link, seconds, way=chance.choice((way, "")))
        case _:
            return Fault(at_seconds, kind, link, seconds)
