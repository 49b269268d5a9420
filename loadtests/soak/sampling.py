"""What the product's processes hold, every few seconds: from /proc, and from what Valkey says of its data."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from loadtests.processes import PROC

INTERVAL_SECONDS = 3.0
POSTGRES, VALKEY = "postgres", "redis"
"""As `quotastack run` names them; of Postgres all processes are one, since they come and go with connections."""
DATA = "valkey's data"
KIBIBYTE = 1024


class Held(msgspec.Struct, frozen=True):
    """What one process holds; of Valkey's data there are no descriptors."""

    pid: int
    memory_bytes: int
    """Resident, without what is shared with others: Postgres' buffers are everybody's."""
    descriptors: int = 0


class Sample(msgspec.Struct, frozen=True):
    """One look at everything."""

    seconds: float
    """Since the first."""
    held: dict[str, Held]
    """By name of the process."""


async def sample(pids: Callable[[], Mapping[str, int | None]], redis_url: str, seconds: float) -> list[Sample]:
    """Look until so many seconds have passed."""
    samples: list[Sample] = []
    started = time.monotonic()
    async with Redis.from_url(redis_url) as redis:
        while (passed := time.monotonic() - started) < seconds:
            held = dict(read_all(pids())) | {DATA: await _data(redis)}
            samples.append(Sample(passed, held))
            await asyncio.sleep(INTERVAL_SECONDS)
    return samples


def read_all(pids: Mapping[str, int | None]) -> Iterator[tuple[str, Held]]:
    """Every process by name: those that were started, and their workers by number. One that just ended is left out."""
    for name, pid in pids.items():
        if pid is None:
            continue
        try:
            if name == POSTGRES:
                yield name, _sum(pid)
            else:
                yield name.replace(VALKEY, "valkey"), read(pid)
                workers = [] if name == VALKEY else children(pid)  # Valkey's is a copy that writes its log anew
                yield from ((f"{name} worker {number + 1}", read(worker)) for number, worker in enumerate(workers))
        except (FileNotFoundError, ProcessLookupError):
            continue


def read(pid: int) -> Held:
    """One process. Raises FileNotFoundError or ProcessLookupError where it is gone."""
    figures = {
        name: int(text.split()[0]) * KIBIBYTE
        for name, _, text in (line.partition(":") for line in (PROC / str(pid) / "status").read_text().splitlines())
        if name in {"VmRSS", "RssShmem"}
    }
    descriptors = sum(1 for _ in (PROC / str(pid) / "fd").iterdir())
    return Held(pid, figures.get("VmRSS", 0) - figures.get("RssShmem", 0), descriptors)


def children(pid: int) -> list[int]:
    """The living children of a process, the oldest first."""
    return sorted(int(word) for word in Path(PROC / str(pid) / "task" / str(pid) / "children").read_text().split())


def _sum(pid: int) -> Held:
    memory_bytes = descriptors = 0
    for one in [pid, *children(pid)]:
        try:
            held = read(one)
        except (FileNotFoundError, ProcessLookupError):
            continue
        memory_bytes += held.memory_bytes
        descriptors += held.descriptors
    return Held(pid, memory_bytes, descriptors)


async def _data(redis: Redis) -> Held:
    """Without what clients and the log hold at the moment."""
    info = await redis.info("memory")
    return Held(0, info["used_memory"] - info["mem_clients_normal"] - info["mem_aof_buffer"])
