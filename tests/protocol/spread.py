"""Runs thousands of schedules on all processors, a chunk at a time."""

import os
from collections import deque
from concurrent.futures import Executor, Future
from typing import NamedTuple

from tests.protocol.schedule import run
from tests.protocol.violation import Violation

CHUNK = 10
"""Schedules that a process runs before it looks for more."""
AHEAD = 2 * (os.cpu_count() or 1)
"""Chunks that are under way or wait for a process."""


class Search(NamedTuple):
    """Schedules that are looked through until one breaks."""

    seeds: range
    faults: bool
    rule: str = ""
    """What is switched off; '' = nothing."""
    kind: str = ""
    """How it is to break; '' = in any way."""


def first_violation(search: Search) -> str | None:
    """The text of the first violation, of the kind that is looked for."""
    for seed in search.seeds:
        try:
            run(seed, faults=search.faults, without=frozenset([search.rule] if search.rule else ()))
        except Violation as violation:
            if search.kind in {"", violation.kind}:
                return str(violation)
    return None


def find_violation(pool: Executor, search: Search) -> str | None:
    """The same, in all processes of the pool."""
    seeds = search.seeds
    chunks = [search._replace(seeds=seeds[start : start + CHUNK]) for start in range(0, len(seeds), CHUNK)]
    under_way = deque[Future[str | None]]()
    try:
        for chunk in chunks:
            under_way.append(pool.submit(first_violation, chunk))
            if len(under_way) > AHEAD and (found := under_way.popleft().result()):
                return found
        return next((found for future in under_way if (found := future.result())), None)
    finally:
        for future in under_way:
            future.cancel()
