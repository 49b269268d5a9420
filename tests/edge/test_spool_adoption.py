"""What a worker that has died left is taken over: whatever is damaged in it, and however much it is."""

import asyncio
import itertools
import os
from pathlib import Path

import pytest
from msgspec import structs

from edge import spool as spool_module
from edge.spool_files import DAMAGED_SUFFIX, PAGE_BYTES, PIECE_BYTES, SUFFIX
from edge.spool_format import SIGNATURE, encode_record
from tests.edge.spool_by_itself import drained, files, left_behind, names, opened, usage
from tests.waiting import wait_until_async

DRAIN_SECONDS = 10

TORN = [b"\x07", bytes(64), encode_record(usage(7))[:-1], encode_record(usage(7))[:40] + bytes(600_000)]
DAMAGED = [b"\xff" * 20, bytes(range(100)), encode_record(usage(7))[1:]]


@pytest.mark.parametrize("tail", TORN)
async def test_a_torn_end_is_no_event(tmp_path: Path, tail: bytes) -> None:
    """Whatever a crash left behind the last whole record was never acknowledged: it goes with its file."""
    path = left_behind(tmp_path, range(3))
    path.write_bytes(path.read_bytes() + tail)
    async with opened(tmp_path) as spool:
        assert drained(spool, b"a", [True] * 3) == [0, 1, 2]
    assert names(tmp_path) == []


@pytest.mark.parametrize("damage", [*DAMAGED, encode_record(usage(7))[:-1], bytes(600_000), b"\xff" * 600_000])
async def test_what_is_behind_damage_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes) -> None:
    """All whole events are taken in, those behind it too; the file is kept aside for whoever can repair it."""
    path = left_behind(tmp_path, range(6))
    content, cut = path.read_bytes(), len(SIGNATURE) + sum(len(encode_record(usage(n))) for n in range(2))
    end = cut + len(encode_record(usage(2)))
    path.write_bytes(spoiled := content[:cut] + damage + content[end:])
    async with opened(tmp_path) as spool:
        assert drained(spool, b"a", [True] * 5) == [0, 1, 3, 4, 5]
    kept = path.with_suffix(DAMAGED_SUFFIX)
    assert (names(tmp_path), kept.read_bytes()) == ([kept.name], spoiled)
    async with opened(tmp_path) as spool:  # it is not read again, but for whoever repairs it and names it as before
        assert spool.waiting == {}
    assert f"1 damaged files, {kept.name} first" in caplog.text
    kept.write_bytes(content)
    kept.rename(path)
    async with opened(tmp_path) as spool:
        assert drained(spool, b"a", [True] * 6) == list(range(6))
    assert names(tmp_path) == []


@pytest.mark.parametrize("damage", DAMAGED)
async def test_damage_at_the_end_is_kept_aside(tmp_path: Path, damage: bytes) -> None:
    """What no crash leaves behind may have been acknowledged."""
    path = left_behind(tmp_path, range(3))
    path.write_bytes(path.read_bytes() + damage)
    async with opened(tmp_path) as spool:
        assert drained(spool, b"a", [True] * 3) == [0, 1, 2]
    assert names(tmp_path) == [path.with_suffix(DAMAGED_SUFFIX).name]


@pytest.mark.parametrize("is_at_border", [False, True])
async def test_an_event_may_end_in_zeros(tmp_path: Path, *, is_at_border: bool) -> None:
    """They are told from those that a file system had room for, also where a piece ends with the last other byte."""
    last, zeros = usage(9), 9
    ending = encode_record(structs.replace(last, properties=zeros * "\0"))
    path = left_behind(tmp_path, range(9))
    if is_at_border:
        missing = PIECE_BYTES - (len(ending) - zeros)
        texts = ["x" * (missing // 9 - len(encode_record(usage(0))) - 2 + (n < missing % 9)) for n in range(9)]
        records = [encode_record(structs.replace(usage(n), properties=text)) for n, text in enumerate(texts)]
        path.write_bytes(SIGNATURE + b"".join(records))
    path.write_bytes(path.read_bytes() + ending + bytes(64))
    async with opened(tmp_path) as spool:
        assert drained(spool, b"a", [True] * 10) == list(range(10))
    assert names(tmp_path) == []


async def test_a_damaged_signature_hides_nothing(tmp_path: Path) -> None:
    """What follows it is read all the same."""
    path = left_behind(tmp_path, range(3))
    path.write_bytes(b"\0" * len(SIGNATURE) + path.read_bytes()[len(SIGNATURE) :])
    async with opened(tmp_path) as spool:
        assert drained(spool, b"a", [True] * 3) == [0, 1, 2]
    assert names(tmp_path) == [path.with_suffix(DAMAGED_SUFFIX).name]


@pytest.mark.parametrize("part", [0.3, 0.98])
async def test_a_part_of_the_disk_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: float
) -> None:
    """Only a page is passed over, whether it is in the middle of the file or near its end.

    As Linux answers: with what comes before the page, and with an error only where a read begins in it.
    """
    count, read = 18_000, os.pread
    path = left_behind(tmp_path, range(count))
    number, path_bytes = path.stat().st_ino, path.stat().st_size
    page = int(part * path_bytes) // PAGE_BYTES * PAGE_BYTES

    def fail(descriptor: int, size: int, start: int) -> bytes:
        if os.fstat(descriptor).st_ino != number or not start < page + PAGE_BYTES or not page < start + size:
            return read(descriptor, size, start)
        if start >= page:
            raise OSError(5, "as if the disk were broken")
        return read(descriptor, page - start, start)

    monkeypatch.setattr(os, "pread", fail)
    async with opened(tmp_path) as spool:
        monkeypatch.setattr(os, "pread", read)
        found = len(spool.waiting[b"a"])
        numbers = drained(spool, b"a", [True] * found)
    assert numbers[0] == 0
    assert numbers[-1] == count - 1
    gaps = [(one, two) for one, two in itertools.pairwise(numbers) if two != one + 1]
    ((before, behind),) = gaps
    record_bytes = path_bytes / count
    assert behind - before <= PAGE_BYTES / record_bytes + 3
    assert names(tmp_path) == [path.with_suffix(DAMAGED_SUFFIX).name]


async def test_one_file_that_cannot_be_used_holds_up_no_other(tmp_path: Path) -> None:
    """It is told once, and those that were begun later are adopted."""
    left_behind(tmp_path, range(3)).rename(tmp_path / f"2{SUFFIX}")
    (tmp_path / f"1{SUFFIX}").mkdir()
    async with opened(tmp_path) as spool:
        assert drained(spool, b"a", [True] * 3) == [0, 1, 2]


# ---- much of it


@pytest.mark.parametrize("room", [1, 1000])
async def test_no_more_is_read_in_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """A spool is read on as it is drained, in order, and never is much more of it in memory than the bound allows."""
    monkeypatch.setattr(spool_module, "READ_ON_SECONDS", 0)
    monkeypatch.setattr(spool_module, "ADOPTED_BYTES", room * spool_module.EVENT_BYTES)
    count = 24_000
    for start in range(0, count, 8000):
        left_behind(tmp_path, range(start, start + 8000))
    async with opened(tmp_path) as spool:
        adopting, numbers, most = asyncio.create_task(spool.adopt_now_and_then()), list[int](), 0

        async def is_drained() -> bool:
            nonlocal most
            if b"a" in spool.waiting:
                most = max(most, len(spool.waiting[b"a"]))
                numbers.extend(drained(spool, b"a", [True] * min(500, len(spool.waiting[b"a"]))))
            return len(numbers) == count

        await wait_until_async(is_drained, DRAIN_SECONDS, "all of it is drained")
        adopting.cancel()
        assert numbers == list(range(count))
        assert most < count / 3
    assert names(tmp_path) == []


async def test_a_customer_who_waits_in_every_file_holds_up_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of a file takes no room but its own: the next is read."""
    monkeypatch.setattr(spool_module, "ADOPTED_BYTES", 2 * spool_module.CUSTOMER_BYTES + 30 * spool_module.EVENT_BYTES)
    for number in range(10):
        left_behind(tmp_path, range(20), b"%d" % number)
        left_behind(tmp_path, range(1), b"stuck")
    monkeypatch.setattr(spool_module, "READ_ON_SECONDS", 0)
    async with opened(tmp_path) as spool:
        adopting, found = asyncio.create_task(spool.adopt_now_and_then()), set[bytes]()

        async def are_drained() -> bool:
            for ref in spool.waiting.keys() - {b"stuck"}:
                drained(spool, ref, [True] * 20)
                found.add(ref)
            return len(found) == 10

        await wait_until_async(are_drained, DRAIN_SECONDS, "the others are drained")
        adopting.cancel()


async def test_who_is_full_leaves_files_to_others(tmp_path: Path) -> None:
    """A worker takes over no more than it might have spooled itself, and one file at least."""
    for number in range(4):
        left_behind(tmp_path, range(10), b"%d" % number)
    size = files(tmp_path)[0].stat().st_size
    async with opened(tmp_path, 2 * size) as first, opened(tmp_path, 0) as second, opened(tmp_path) as third:
        assert first.waiting.keys() == {b"0", b"1"}
        assert second.waiting.keys() == {b"2"}
        assert third.waiting.keys() == {b"3"}


async def test_files_that_are_held_open_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small they are."""
    monkeypatch.setattr(spool_module, "ADOPTED_FILES", 2)
    for number in range(3):
        left_behind(tmp_path, range(1), b"%d" % number)
    async with opened(tmp_path) as first, opened(tmp_path) as second:
        assert (first.waiting.keys(), second.waiting.keys()) == ({b"0", b"1"}, {b"2"})
