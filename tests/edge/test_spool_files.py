"""The spool by itself: what is on disk when, who may read it, how much of it there may be, and what is struck off."""

import asyncio
import os
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.codes import Code
from edge import spool as spool_module
from edge.refusals import Refusal
from edge.settings import SettingsError
from edge.spool import Spool
from edge.spool_files import SUFFIX, create, make
from edge.spool_format import SIGNATURE, encode_record
from edge.spool_waiting import Waiting
from tests.edge.spool_by_itself import MANY_BYTES, drained, files, opened, usage
from tests.rules.laws import LAW
from tests.waiting import wait_until_async

PARENT_SECONDS = 5


class Client:
    """Notes what it is told, and what was on disk then."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.spooled_ids: list[int] = []
        self.codes: list[Code] = []

    def spooled(self, event_id: UUID) -> None:
        """The event has to be on disk by now."""
        assert any(event_id.bytes in path.read_bytes() for path in files(self._directory))
        self.spooled_ids.append(event_id.int)

    def refused(self, refusal: Refusal) -> None:
        """It is not kept."""
        self.codes.append(refusal.code)

    async def told(self, count: int) -> None:
        """Wait for so many answers."""

        async def are_so_many() -> bool:
            return len(self.spooled_ids) + len(self.codes) >= count

        await wait_until_async(are_so_many, PARENT_SECONDS, f"{count} answers")


async def test_many_events_are_kept_in_order_and_go_together(tmp_path: Path) -> None:
    """Each is told once it is on disk; a customer's are read in their order; the file goes with the last of them."""
    client = Client(tmp_path)
    async with opened(tmp_path) as spool:
        for number in range(100):
            spool.take(usage(number, b"ab"[number % 2 : number % 2 + 1]), client)
        await client.told(100)
        assert client.spooled_ids == list(range(100))
        assert spool.waiting.keys() == {b"a", b"b"}
        assert drained(spool, b"a", [True] * 50) == list(range(0, 100, 2))
        assert len(files(tmp_path)) == 1
        assert drained(spool, b"b", [True, False, True]) == [1, 3, 5]
        assert drained(spool, b"b", [True] * 48) == [3, *range(7, 100, 2)]
        assert (spool.waiting, files(tmp_path)) == ({}, [])


async def test_who_has_died_leaves_everything_to_the_next(tmp_path: Path) -> None:
    """While one lives nobody else reads its file; once it is gone the next one has all of it, in order."""
    client = Client(tmp_path)
    async with opened(tmp_path) as first:
        for number in range(5):
            first.take(usage(number), client)
        await client.told(5)
        async with opened(tmp_path) as second:
            assert second.waiting == {}
            second.take(usage(9), client)
            await client.told(6)
            assert len(files(tmp_path)) == 2
    async with opened(tmp_path) as third:
        assert drained(third, b"a", [True] * 6) == [0, 1, 2, 3, 4, 9]
        assert files(tmp_path) == []


async def test_a_neighbour_that_dies_is_adopted_while_we_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have no successor; what it left stands behind what we have of the same customer."""
    monkeypatch.setattr(spool_module, "ADOPT_SECONDS", 0)
    client = Client(tmp_path)
    async with opened(tmp_path) as survivor:
        adopting = asyncio.create_task(survivor.adopt_now_and_then())
        async with opened(tmp_path) as neighbour:
            for number in range(3):
                neighbour.take(usage(number), client)
            survivor.take(usage(9), client)
            await client.told(4)
            assert len(survivor.waiting[b"a"]) == 1

        async def is_adopted() -> bool:
            return len(survivor.waiting[b"a"]) == 4

        await wait_until_async(is_adopted, PARENT_SECONDS, "what the neighbour left")
        adopting.cancel()
        assert drained(survivor, b"a", [True] * 4) == [9, 0, 1, 2]
        assert files(tmp_path) == []


@pytest.mark.parametrize("content", [b"", SIGNATURE[:4], bytes(30), SIGNATURE])
async def test_a_file_without_records_goes(tmp_path: Path, content: bytes) -> None:
    """Its maker died before it was of use."""
    (tmp_path / f"1{SUFFIX}").write_bytes(content)
    async with opened(tmp_path) as spool:
        assert (spool.waiting, files(tmp_path)) == ({}, [])


async def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    """Who wrote it will read it."""
    path = tmp_path / f"1{SUFFIX}"
    path.write_bytes(b"qs-spool-1\n" + bytes(40))
    async with opened(tmp_path) as spool:
        assert spool.waiting == {}
    assert path.read_bytes() == b"qs-spool-1\n" + bytes(40)


async def test_it_has_a_bound_and_room_comes_back(tmp_path: Path) -> None:
    """What does not fit is refused with `backlog`; it fits once the rest is taken in."""
    client, record = Client(tmp_path), len(encode_record(usage(1)))
    async with opened(tmp_path, len(SIGNATURE) + 3 * record) as spool:
        for number in range(5):
            spool.take(usage(number), client)
        await client.told(5)
        assert (client.spooled_ids, client.codes) == ([0, 1, 2], [Code.BACKLOG] * 2)
    async with opened(tmp_path, len(SIGNATURE) + 3 * record) as spool:
        spool.take(usage(6), client)
        assert client.codes == [Code.BACKLOG] * 3
        drained(spool, b"a", [True] * 3)
        spool.take(usage(7), client)
        await client.told(7)
        assert client.spooled_ids == [0, 1, 2, 7]


async def test_an_event_that_waits_holds_up_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are written into the next files, which go when theirs are done with."""
    monkeypatch.setattr(spool_module, "FILE_BYTES", 200)
    client = Client(tmp_path)
    async with opened(tmp_path) as spool:
        spool.take(usage(0, b"stuck"), client)
        await client.told(1)
        for number in range(1, 20):
            spool.take(usage(number), client)
            await client.told(number + 1)
        assert len(files(tmp_path)) > 3
        drained(spool, b"a", [True] * 19)
        assert len(files(tmp_path)) == 1
        assert drained(spool, b"stuck", [True]) == [0]
        assert files(tmp_path) == []


async def test_a_disk_that_does_not_take_it(tmp_path: Path) -> None:
    """`store_unavailable`, and nothing is kept of it; once the disk takes more, it is used again."""
    directory = tmp_path / "spool"
    client = Client(directory)
    async with opened(directory) as spool:
        directory.rmdir()
        spool.take(usage(1), client)
        await client.told(1)
        assert (client.codes, spool.waiting) == ([Code.STORE_UNAVAILABLE], {})
        directory.mkdir()
        spool.take(usage(2), client)
        await client.told(2)
        assert client.spooled_ids == [2]


async def test_a_record_that_does_not_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync fails in the middle: those events are refused and stay in no file; those before and after are kept."""
    client, sync = Client(tmp_path), os.fsync

    def fail(descriptor: int) -> None:
        del descriptor
        raise OSError(5, "as if the disk were broken")

    async with opened(tmp_path) as spool:
        spool.take(usage(1), client)
        await client.told(1)
        monkeypatch.setattr(os, "fsync", fail)
        spool.take(usage(2), client)
        await client.told(2)
        monkeypatch.setattr(os, "fsync", sync)
        spool.take(usage(3), client)
        await client.told(3)
    assert (client.spooled_ids, client.codes) == ([1, 3], [Code.STORE_UNAVAILABLE])
    async with opened(tmp_path) as spool:
        assert drained(spool, b"a", [True] * 2) == [1, 3]


async def test_what_comes_while_it_syncs_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sync at a time; however many events come meanwhile, they need one more."""
    client, sync, synced = Client(tmp_path), os.fsync, list[int]()
    async with opened(tmp_path) as spool:
        spool.take(usage(0), client)
        await client.told(1)

        def count(descriptor: int) -> None:
            synced.append(descriptor)
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", count)
        spool.take(usage(1), client)
        await asyncio.sleep(0)  # the first is on its way
        for number in range(2, 50):
            spool.take(usage(number), client)
        await client.told(50)
    assert (client.spooled_ids, len(synced)) == (list(range(50)), 2)


async def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    """What was taken before is written, what comes later is refused."""
    client = Client(tmp_path)
    async with opened(tmp_path) as spool:
        spool.take(usage(1), client)
        await spool.close()
        spool.take(usage(2), client)
        assert (client.spooled_ids, client.codes) == ([1], [Code.STORE_UNAVAILABLE])


async def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    """A wrong setting is named as one."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="SPOOL_DIRECTORY"):
        await Spool(tmp_path / "file", MANY_BYTES).open()


@pytest.mark.parametrize("missing", [1, 3])
def test_a_directory_outlives_a_loss_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int) -> None:
    """Whoever makes a directory syncs the one above, which names it, before anything is said to be in it."""
    sync, synced = os.fsync, set[int]()

    def note(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    directory = tmp_path.joinpath(*"abc"[:missing])
    make(directory)
    assert synced == {folder.stat().st_ino for folder in list(directory.parents)[:missing]}
    synced.clear()
    make(directory)
    assert synced == set()


def test_files_are_read_in_the_order_of_their_making(tmp_path: Path) -> None:
    """Their names sort by the moment, whatever its digits."""
    for now_at in (5, 40, 1_700_000_000_000_000):
        create(tmp_path, now_at).close()
    assert [int(path.name.split("-")[0]) for path in files(tmp_path)] == [5, 40, 1_700_000_000_000_000]


@LAW
@given(st.lists(st.integers(0, 2**63), max_size=40), st.data())
def test_striking_off_keeps_the_order(places: list[int], data: st.DataObject) -> None:
    """Whatever is done with in whichever windows: what is left stands in its order, and nothing is struck twice."""
    waiting, left, struck = Waiting(b"a"), list(places), list[int]()
    for place in places:
        waiting.add(place)
    while left:
        done = data.draw(st.lists(st.booleans(), min_size=1, max_size=len(left)).filter(any))
        struck += waiting.strike(done)
        left = [p for p, is_done in zip(left, done, strict=False) if not is_done] + left[len(done) :]
        assert (list(waiting.first(len(places))), len(waiting)) == (left, len(left))
    assert sorted(struck) == sorted(places)
