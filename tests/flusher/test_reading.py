"""Reading the streams: whatever has piled up where, everything comes once and in order, and nobody waits for long."""

from collections.abc import Mapping

from hypothesis import example, given
from hypothesis import strategies as st

from app.flusher.reading import BATCH_DUE, BATCH_ENTRIES, SHALLOW_ENTRIES, Reader
from app.io.stream import RawEntry, StreamId
from app.wire.events import StreamEntry, show_stream_id
from tests.rules.laws import LAW

BATCH = 100


class Piled:
    """Streams by partition with so many entries each; entry n has the id (n, 0). Remembers what it was asked for."""

    def __init__(self, lengths: Mapping[int, int]) -> None:
        self.lengths = dict(lengths)
        self.kind = b"t"
        self.blocks: list[int | None] = []

    async def read(
        self, cursors: Mapping[int, StreamId], count: int, block_milliseconds: int | None
    ) -> dict[int, list[RawEntry]]:
        """As XREAD."""
        assert cursors
        assert count > 0, "COUNT 0 would be everything"
        self.blocks.append(block_milliseconds)
        found = {partition: self._after(partition, last, count) for partition, (last, _) in cursors.items()}
        return {partition: entries for partition, entries in found.items() if entries}

    def _after(self, partition: int, last: int, count: int) -> list[RawEntry]:
        numbers = range(last + 1, min(self.lengths[partition], last + count) + 1)
        return [(show_stream_id((number, 0)).encode(), _entry(partition, self.kind)) for number in numbers]


def _entry(partition: int, kind: bytes) -> dict[bytes, bytes]:
    return {b"a": b"%d" % partition, b"k": kind, b"t": b"1", b"r": b"1", b"c": b"0"}


class Cursors:
    """Reads to the end as the flusher does."""

    def __init__(self, lengths: Mapping[int, int]) -> None:
        self.stream = Piled(lengths)
        self.reader = Reader(self.stream, BATCH)
        self.positions: dict[int, StreamId] = dict.fromkeys(lengths, (0, 0))

    async def turn(self, busy: frozenset[int] = frozenset()) -> dict[int, int]:
        """Read a batch of all but the busy partitions and move the cursors; how much came of each."""
        positions = {partition: position for partition, position in self.positions.items() if partition not in busy}
        found = await self.reader.read(positions, 500)
        for partition, entries in found.items():
            assert partition in positions
            assert entries
            for entry in entries:
                assert isinstance(entry, StreamEntry)
                assert entry.ref == b"%d" % partition
                assert entry.stream_id == (self.positions[partition][0] + 1, 0), "in order, without a gap, once"
                self.positions[partition] = entry.stream_id
        return {partition: len(entries) for partition, entries in found.items()}


piles = st.dictionaries(st.integers(0, 40), st.integers(0, 300), min_size=1, max_size=40)


@LAW
@given(piles, st.sets(st.integers(0, 40)))
@example({0: 1000, 1: SHALLOW_ENTRIES, 2: SHALLOW_ENTRIES - 1}, set())
async def test_everything_comes_once_and_in_order(lengths: dict[int, int], busy: set[int]) -> None:
    """No batch is larger than it may be, and the last turn that finds something finds the last of it."""
    cursors, most = Cursors(lengths), max(BATCH, len(lengths))
    while any(cursors.positions[partition][0] < length for partition, length in lengths.items()):
        before = sum(position[0] for position in cursors.positions.values())
        if busy < lengths.keys():
            assert sum((await cursors.turn(frozenset(busy))).values()) <= most
        assert sum((await cursors.turn()).values()) <= most
        assert sum(position[0] for position in cursors.positions.values()) > before
    assert await cursors.turn() == {}


@LAW
@given(st.integers(2, 30), st.integers(1_000, 100_000))
async def test_nobody_waits_for_a_partition_that_never_ends(others: int, endless: int) -> None:
    """A little that comes elsewhere is read with the next batch; much has its turn as soon as any."""
    cursors = Cursors(dict.fromkeys(range(others), 0) | {99: endless})
    await cursors.turn()
    cursors.stream.lengths[0], cursors.stream.lengths[1] = 1, BATCH
    await cursors.turn()
    assert cursors.positions[0] == (1, 0)
    for _ in range(4):
        await cursors.turn()
    assert cursors.positions[1] == (BATCH, 0)


@LAW
@given(st.integers(4, 30), st.integers(SHALLOW_ENTRIES, BATCH // 2))
async def test_what_has_piled_up_is_read_deep(partitions: int, each: int) -> None:
    """From the second deep read on, a batch takes whole partitions, as many as fill it."""
    cursors = Cursors(dict.fromkeys(range(partitions), each))
    await cursors.turn()
    left = [partition for partition, position in cursors.positions.items() if position != (each, 0)]
    found = await cursors.turn()
    assert set(found.values()) == ({each} if left else set())
    assert len(found) == min(len(left), BATCH // each)


async def test_an_empty_stream_is_waited_for() -> None:
    """The first entry is waited for only where nothing is known to be there."""
    cursors = Cursors({0: 0, 1: 1000})
    await cursors.turn()
    assert cursors.stream.blocks == [500, None]
    await cursors.turn()
    assert cursors.stream.blocks[2:] == [None, None]


async def test_where_much_is_due_batches_are_smaller() -> None:
    """From the second one on, and no longer than it lasts."""
    stream = Piled(dict.fromkeys(range(4), 2 * BATCH_ENTRIES))
    reader, positions, sizes = Reader(stream), dict[int, StreamId].fromkeys(range(4), (0, 0)), list[int]()
    for kind in (b"t", b"t", b"o", b"u", b"u", b"o", b"t", b"u", b"u"):
        stream.kind = kind
        found = await reader.read(positions, None)
        positions |= {partition: entries[-1].stream_id for partition, entries in found.items()}
        sizes.append(sum(map(len, found.values())))
    assert [size > BATCH_DUE for size in sizes] == [True, False, False, False, True, True, False, False, True]
