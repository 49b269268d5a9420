"""A spool without an edge: what is in it, and what a worker that has died left."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from edge.spool import Spool
from edge.spool_files import SUFFIX, create
from edge.spool_format import SpooledUsage, encode_record

MANY_BYTES = 1 << 30


def usage(number: int, ref: bytes = b"a") -> SpooledUsage:
    """An event of the customer `ref`."""
    return SpooledUsage(ref, UUID(int=number), 1_000_000 + number, "calls", 1, None, None, None)


def files(directory: Path) -> list[Path]:
    """The spool's files, oldest first."""
    return sorted(directory.glob(f"*{SUFFIX}"))


def names(directory: Path) -> list[str]:
    """Of everything in it."""
    return sorted(path.name for path in directory.iterdir())


@asynccontextmanager
async def opened(directory: Path, max_bytes: int = MANY_BYTES) -> AsyncIterator[Spool]:
    """A spool, closed afterwards."""
    spool = Spool(directory, max_bytes)
    await spool.open()
    try:
        yield spool
    finally:
        await spool.close()


def drained(spool: Spool, ref: bytes, done: list[bool]) -> list[int]:
    """The customer's first events, of which some are done with; the numbers of those that were looked at."""
    waiting = spool.waiting[ref]
    numbers = [spool.read(place).event_id.int for place in waiting.first(len(done))]
    spool.settle(waiting, done)
    return numbers


def left_behind(directory: Path, numbers: Iterable[int], ref: bytes = b"a") -> Path:
    """The file of a worker that has spooled these events of a customer and died."""
    file = create(directory, len(files(directory)))
    file.append(b"".join([encode_record(usage(number, ref)) for number in numbers]))
    file.close()
    return file.path
