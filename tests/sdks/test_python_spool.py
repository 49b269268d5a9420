"""The Python SDK's spool on the disk: whatever is cut off or taken over, what was kept is there, once."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotastack import RejectedEvent, SpoolBrokenError, SpoolFullError
from quotastack.events import Event
from quotastack.spool import MemorySpool, Spool
from quotastack.spool_files import EVENTS, FileSpool, SpoolFile, make_own, read_lines

MEBIBYTE = 1024 * 1024


def event(name: str) -> Event:
    """An event whose key says which; its text has what could be taken for the end of a line."""
    return Event(
        end_user_id='ada\n"}',
        feature_key="api_calls",
        units=2.5,
        idempotency_key=name,
        timestamp="2026-11-27T09:30:00Z",
        properties={"é": '\n{"done": [1]}\n'},
    )


def keys(spool: Spool) -> list[str]:
    """Of what waits."""
    return [one.event.idempotency_key for one in spool.first(10_000)]


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    """An empty one."""
    return FileSpool(tmp_path, "test", MEBIBYTE)


# ---- what a file says


steps = st.lists(st.integers(1, 4) | st.sets(st.integers(1, 12), min_size=1, max_size=4).map(frozenset), max_size=10)
"""So many events come; or those with these numbers are answered."""


def written(directory: Path, what: list[int | frozenset[int]]) -> tuple[bytes, list[tuple[int, str | frozenset[int]]]]:
    """The file after these steps; and for each line of it where it ends, and the event or the answers that it tells."""
    file = make_own(directory, "test")
    told: list[tuple[int, str | frozenset[int]]] = []
    count = 0
    for step in what:
        before = file.size
        if isinstance(step, int):
            names = [str(number) for number in range(count + 1, count + step + 1)]
            count += step
            file.append([event(name) for name in names])
            content = (file.directory / EVENTS).read_bytes()[before:]
            ends = [before + len(part) for part in _growing(content)]
            told += list(zip(ends, names, strict=True))
        elif answered := step & file.pending.keys():
            file.remove(sorted(answered))
            told = [*told, (file.size - 1, frozenset(answered))] if file.pending else []
    content = (file.directory / EVENTS).read_bytes()
    file.drop()
    return content, told


def _growing(content: bytes) -> list[bytes]:
    """The beginnings of the content that end before a line's end."""
    lines = content.split(b"\n")[:-1]
    return [b"\n".join(lines[: index + 1]) for index in range(len(lines))]


@settings(max_examples=200, deadline=None)
@given(steps, st.floats(0, 1))
def test_a_file_that_is_cut_anywhere(what: list[int | frozenset[int]], place: float) -> None:
    """Every event whose line is whole is there, unless a whole line says that it was answered; and nothing else is."""
    with TemporaryDirectory() as directory:
        content, told = written(Path(directory), what)
    cut = round(place * len(content))
    expected: dict[str, None] = {}
    for end, said in told:
        if end > cut:
            break
        if isinstance(said, str):
            expected[said] = None
        else:
            for number in said:
                expected.pop(str(number))
    assert [one.idempotency_key for one in read_lines(content[:cut]).pending.values()] == list(expected)
    assert list(read_lines(content[:cut]).pending.values()) == [event(name) for name in expected]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.floats(0, 1))
def test_a_torn_file_is_written_on(count: int, place: float) -> None:
    """Who takes it over adds to it, and neither the half line nor what comes after it harms the other."""
    with TemporaryDirectory() as name:
        file = make_own(Path(name), "test")
        file.append([event(str(number)) for number in range(count)])
        os.truncate(file.directory / EVENTS, cut := round(place * file.size))
        kept = [one.idempotency_key for one in read_lines((file.directory / EVENTS).read_bytes()).pending.values()]
        again = SpoolFile(file.directory, os.dup(file._lock))  # noqa: SLF001
        again.append([event("new")])
        again.remove([min(again.pending)])
        assert cut >= 0
        read = read_lines((file.directory / EVENTS).read_bytes())
        assert [one.idempotency_key for one in read.pending.values()] == [*kept, "new"][1:]
        file.drop()
        again.drop()


STRANGE = (
    b'{"number":1,"event":{"end_user_id":42,"feature_key":"f","units":1,"idempotency_key":"a","timestamp":"t"}}',
    b'{"number":2,"event":{"end_user_id":"ada","feature_key":"f","units":"4","idempotency_key":"b","timestamp":"t"}}',
    b'{"number":3,"event":{"end_user_id":"ada","feature_key":"f","units":null,"idempotency_key":"c","timestamp":"t"}}',
    b'{"number":4,"event":{"end_user_id":"ada","feature_key":"f","units":1e999,"idempotency_key":"d","timestamp":"t"}}',
    b"[1]",
    b'"event"',
)
"""Lines that are whole, and no usage."""


def test_whole_lines_that_are_no_usage_are_told(tmp_path: Path) -> None:
    """They are not taken for what a crash cut short; told once, whatever the file goes through before."""
    file = make_own(tmp_path, "test")
    file.append([event(str(number)) for number in range(9)])
    file.remove(list(range(1, 9)))
    with (file.directory / EVENTS).open("ab") as lines:
        lines.write(b"\n".join([*STRANGE, b'{"number":7,"eve']))
    file.drop()
    spool = FileSpool(tmp_path, "test", MEBIBYTE)
    spool.adopt()
    assert keys(spool) == ["8"]
    spool._files[1].compact()  # noqa: SLF001
    told = spool.unfit()
    assert [(one.code, one.idempotency_key) for _, one in told] == [
        ("unfit", key) for key in ("a", "b", "c", "d", "", "")
    ]
    assert "42" in told[0][1].detail
    spool.remove([ticket for ticket, _ in told[:5]])
    spool.close()
    again = FileSpool(tmp_path, "test", MEBIBYTE)
    again.adopt()
    assert [one.detail.rpartition(": ")[2] for _, one in again.unfit()] == ['"event"']
    again.remove([ticket for ticket, _ in again.unfit()] + [one.ticket for one in again.first(9)])
    again.close()
    assert not list(tmp_path.iterdir())


# ---- taking over


def test_only_the_dead_are_taken_over(tmp_path: Path, spool: FileSpool) -> None:
    """While a process lives its directory is its own; then it goes to one other, and is gone when all is answered."""
    spool.add([event("a"), event("b")])
    others = [FileSpool(tmp_path, "test", MEBIBYTE) for _ in range(2)]
    for other in others:
        other.adopt()
    assert [len(other) for other in others] == [0, 0]
    spool.close()
    others[0].add([event("c")])
    for other in others:
        other.adopt()
        other.adopt()
    assert [keys(other) for other in others] == [["a", "b", "c"], []]
    others[0].remove([one.ticket for one in others[0].first(2)])
    others[0].remove([one.ticket for one in others[0].first(2)])
    for other in others:
        other.close()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_sandbox_and_live_do_not_meet(tmp_path: Path, spool: FileSpool) -> None:
    """Usage of one never goes to the other."""
    spool.add([event("a")])
    spool.close()
    live = FileSpool(tmp_path, "live", MEBIBYTE)
    live.adopt()
    assert len(live) == 0
    spool.adopt()
    assert keys(spool) == ["a"]
    spool.close()


def test_more_than_fits_into_memory_is_taken_over_bit_by_bit(tmp_path: Path) -> None:
    """As long as what is there is more than the bound nothing is added to it."""
    size = 4000
    for number in range(4):
        dead = FileSpool(tmp_path, "test", size)
        dead.add([event(f"{number}.{index}") for index in range(8)])
        dead.close()
    spool, seen = FileSpool(tmp_path, "test", size), list[str]()
    while True:
        spool.adopt()
        assert len(spool) <= 24
        if not (waiting := spool.first(5)):
            break
        seen += [one.event.idempotency_key for one in waiting]
        spool.remove([one.ticket for one in waiting])
    assert sorted(seen) == sorted(f"{number}.{index}" for number in range(4) for index in range(8))
    spool.close()


# ---- bounds


def fits(spool: Spool, one: Event) -> bool:
    """Whether there was room."""
    try:
        spool.add([one])
    except SpoolFullError:
        return False
    return True


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_bound_that_counts_what_waits(tmp_path: Path, *, is_durable: bool) -> None:
    """Nothing of what does not fit is kept; what was answered makes room."""
    spool: Spool = FileSpool(tmp_path, "test", 4000) if is_durable else MemorySpool(4000)
    added = 0
    while fits(spool, event(str(added))):
        added += 1
    assert keys(spool) == [str(number) for number in range(added)] != []
    for _ in range(3 * added):
        spool.remove([spool.first(1)[0].ticket])
        spool.add([event("more")])
    assert keys(spool) == ["more"] * added
    spool.close()


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    """Is said to whoever wants something kept."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolBrokenError):
        FileSpool(tmp_path / "file", "test", MEBIBYTE).add([event("a")])


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_half_of_what_is_refused_is_not_kept(
    tmp_path: Path, spool: FileSpool, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """The disk is full in the middle of a batch: the call fails, and the next process sends nothing of it."""
    spool.add([event("a")])
    write, left = os.write, [1]

    def write_some(file: int, content: bytes) -> int:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left.clear()
        return write(file, content[: len(content) * 6 // 10])

    def sync(_file: int) -> None:
        if left:
            left.clear()
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, *(("write", write_some) if failing == "write" else ("fsync", sync)))
        with pytest.raises(SpoolBrokenError):
            spool.add([event(f"b{number}") for number in range(10)])
    spool.add([event("c")])
    assert keys(spool) == ["a", "c"]
    spool.close()
    again = FileSpool(tmp_path, "test", MEBIBYTE)
    again.adopt()
    assert keys(again) == ["a", "c"]
    again.close()


def test_a_spool_that_is_full_is_not_written_anew(
    tmp_path: Path, spool: FileSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that makes no room: each call would write the whole bound."""
    written_anew: list[int] = []
    compact = SpoolFile.compact
    monkeypatch.setattr(SpoolFile, "compact", lambda file: (written_anew.append(1), compact(file)))
    small = FileSpool(tmp_path, "test", 4000)
    while fits(small, event("a")):
        pass
    small.remove([small.first(1)[0].ticket])
    assert not fits(small, event("b" * 500))
    assert not written_anew
    assert fits(small, event("b"))
    assert written_anew
    small.close()
    spool.close()


def test_a_file_that_cannot_be_opened_leaves_no_lock(tmp_path: Path, spool: FileSpool) -> None:
    """Another comes to it, or the same a little later."""
    spool.add([event("a")])
    spool.close()
    (directory,) = tmp_path.glob("test-*")
    (directory / EVENTS).rename(tmp_path / "aside")
    (directory / EVENTS).mkdir()
    with pytest.raises(SpoolBrokenError):
        spool.adopt()
    (directory / EVENTS).rmdir()
    (tmp_path / "aside").rename(directory / EVENTS)
    other = FileSpool(tmp_path, "test", MEBIBYTE)
    other.adopt()
    assert keys(other) == ["a"]
    other.close()


def test_what_was_rejected_outlives_the_spool(tmp_path: Path, spool: FileSpool) -> None:
    """In a file beside it, until that is too large."""
    small = FileSpool(tmp_path, "test", 300)
    for _ in range(10):
        small.reject(
            RejectedEvent(
                end_user_id="ada",
                feature_key="f",
                units=1,
                idempotency_key="k",
                timestamp="t",
                properties=None,
                code="unknown_feature",
                detail="",
            )
        )
    lines = (tmp_path / "rejected-test.jsonl").read_text().splitlines()
    assert 1 <= len(lines) <= 3
    spool.close()
