"""What is posted next: everything that waits, or, where that is more than a batch takes, partition by partition.

An account that is posted to costs more than an event. So what has piled up is read deep: as much as there is of one
partition, then of the next. What its accounts did meanwhile becomes one transaction each, and the other partitions have
their turn after it. Where much falls due at once, batches are smaller: to post what is due takes longer than any usage.
"""

from collections.abc import Container, Mapping
from itertools import islice
from typing import Protocol

from app.flusher.posting import Entries
from app.io.stream import RawEntry, StreamId
from app.wire.events import EntryKind, parse_entry

BATCH_ENTRIES = 5_000
"""Entries that one transaction posts at most."""
BATCH_DUE = 1_000
"""The same where they are ticks and orders: Postgres ends a transaction in which is decided for too long."""
DUE_KINDS = frozenset({EntryKind.TICK.value.encode(), EntryKind.ORDER.value.encode()})
SHALLOW_ENTRIES = 16
"""Of one partition; where more wait, it is read deep."""


class Stream(Protocol):
    """What is read from: `io.stream.StreamConnection`."""

    async def read(
        self, cursors: Mapping[int, StreamId], count: int, block_milliseconds: int | None
    ) -> dict[int, list[RawEntry]]:
        """Entries after each partition's cursor, at most `count` of each."""
        ...


class Reader:
    """Reads in turn from all partitions that it is shown. Keeps nothing that was read."""

    def __init__(self, stream: Stream, batch_entries: int = BATCH_ENTRIES) -> None:
        self._stream = stream
        self._batch_entries = batch_entries
        self._deep: dict[int, None] = {}
        """Partitions that had more than was read, those first that have waited longest."""
        self._depth = batch_entries
        """How much one of them has, judged by the last: as many are read at once as should make a batch."""
        self._most = batch_entries
        """What the next batch may have, judged by the last one."""

    async def read(self, positions: Mapping[int, StreamId], block_milliseconds: int | None) -> dict[int, Entries]:
        """A batch of what follows these positions, each partition's in order; none of a partition without any.

        Where nothing is there, waits so long for the first entry; None = not at all.
        """
        found = await self._read_shallow(positions, block_milliseconds)
        room = self._most - sum(map(len, found.values()))
        at_once = max(1, room // self._depth)
        while at_once and (chosen := self._choose_deep(positions, found, at_once)):
            deep = await self._read_deep(chosen, max(1, room // len(chosen)))
            found |= deep
            room -= sum(map(len, deep.values()))
            at_once = room // self._depth
        due = sum(fields.get(b"k") in DUE_KINDS for raw in found.values() for _, fields in raw)
        self._most = self._batch_entries if due <= BATCH_DUE // 2 else min(BATCH_DUE, self._batch_entries)
        return {
            partition: [parse_entry(stream_id, fields) for stream_id, fields in raw] for partition, raw in found.items()
        }

    async def _read_shallow(
        self, positions: Mapping[int, StreamId], block_milliseconds: int | None
    ) -> dict[int, list[RawEntry]]:
        """A little of each that is not deep; what is found to be deep is left, to be read again with the rest."""
        shallow = {partition: position for partition, position in positions.items() if partition not in self._deep}
        if not shallow:
            return {}
        count = max(1, min(SHALLOW_ENTRIES, self._most // len(shallow)))
        found = await self._stream.read(shallow, count, block_milliseconds if len(shallow) == len(positions) else None)
        self._deep |= {partition: None for partition, raw in found.items() if len(raw) == count}
        return {partition: raw for partition, raw in found.items() if len(raw) < count}

    def _choose_deep(
        self, positions: Mapping[int, StreamId], found: Container[int], at_once: int
    ) -> dict[int, StreamId]:
        """Those that have waited longest."""
        waiting = (partition for partition in self._deep if partition in positions and partition not in found)
        return {partition: positions[partition] for partition in islice(waiting, at_once)}

    async def _read_deep(self, positions: Mapping[int, StreamId], count: int) -> dict[int, list[RawEntry]]:
        found = await self._stream.read(positions, count, None)
        lengths = {partition: len(found.get(partition, ())) for partition in positions}
        for partition, length in lengths.items():
            del self._deep[partition]
            if length == count:
                self._deep[partition] = None  # behind all others
        most = max(lengths.values())
        self._depth = max(1, most, self._depth if most == count else 0)
        return found
