"""Runs thousands of schedules on all processors, a chunk at a time."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from tests.protocol.schedule import run
from tests.protocol.violation import Violation

CHUNK = 25
"""Schedules that a process runs before it looks for more."""
AHEAD = 2 * (os.cpu_count() or 1)
"""Chunks that are under way or wait for a process."""
Work = tuple[range, bool, str]
"""Seeds, whether there are faults, and the rule that is switched off, '' = none."""


def violations(work: Work) -> list[tuple[str, str]]:
    """(kind, text) of every schedule that breaks."""
    seeds, faults, rule = work
    found: list[tuple[str, str]] = []
    for seed in seeds:
        try:
            run(seed, faults=faults, without=frozenset([rule] if rule else ()))
        except Violation as violation:
            found.append((violation.kind, str(violation)))
    return found


def search(pool: ProcessPoolExecutor, work: Work) -> Iterator[tuple[str, str]]:
    """Violations in the order of the seeds. Whoever has found enough stops asking, and the rest is left."""
    seeds, faults, rule = work
    chunks = iter([seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)])
    ahead = deque[Future[list[tuple[str, str]]]]()
    for chunk in chunks:
        ahead.append(pool.submit(violations, (chunk, faults, rule)))
        if len(ahead) > AHEAD:
            yield from ahead.popleft().result()
    for future in ahead:
        yield from future.result()
