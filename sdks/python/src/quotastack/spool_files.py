"""A spool on the disk, which outlives the process.

    <path>/test-0193…/lock            held as long as the process lives
    <path>/test-0193…/events.jsonl    {"number": 1, "event": {…}} a line; and {"done": [1]} of those that were answered
    <path>/rejected-test.jsonl        what will never be taken, with code and detail

Every process has a directory of its own. One whose lock nobody holds is left of a process that died: whoever comes by
takes it over, sends what is in it under the same keys, and removes it. Sandbox (`test`) and live never meet. A line is
on the disk before its event counts as kept. What a crash cuts short is the last line, of which nobody was told that it
is kept. A line that is whole and holds no usage event is told as rejected, never passed over.
"""

import fcntl
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, cast
from uuid import uuid4

import msgspec

from quotastack.answers import RejectedEvent
from quotastack.errors import SpoolBrokenError, SpoolFullError
from quotastack.events import Event, line
from quotastack.spool import Waiting
from quotastack.verdicts import UNFIT

EVENTS, LOCK = "events.jsonl", "lock"
_log = logging.getLogger("quotastack")


class _Line(msgspec.Struct, omit_defaults=True):
    number: int = 0
    event: Event | None = None
    done: list[int] = []


_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(_Line)


class Lines(NamedTuple):
    """What a file says: what was not answered, by number."""

    pending: OrderedDict[int, Event]
    unfit: OrderedDict[int, bytes]
    """Whole lines whose event is none."""
    sizes: dict[int, int]
    """Of the lines of both."""


_FRAME_BYTES = 40
"""What a line has beside the event, at most."""


class SpoolFile:
    """One directory, whose lock is ours."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self._lock = lock
        self._file = os.open(directory / EVENTS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with open(self._file, "rb", closefd=False) as file:
                content = file.read()
        except BaseException:
            os.close(self._file)
            raise
        self.pending, self.unfit, self._sizes = read_lines(content)
        """By number, which an event keeps."""
        self._last = max(self._sizes, default=0)
        self._is_torn = bool(content) and not content.endswith(b"\n")
        """Whether the last line may be half a line."""
        self.size = len(content)
        self.needed = sum(self._sizes.values())
        """What of it is not answered."""

    def append(self, events: Sequence[Event]) -> None:
        """Write and sync. Raises OSError, and none of them is pending, or in the file, then."""
        numbered = dict(enumerate(events, self._last + 1))
        lines = [_encoder.encode(_Line(number, event)) for number, event in numbered.items()]
        size, is_torn = self.size, self._is_torn
        try:
            self._write(lines)
            os.fsync(self._file)
        except OSError:
            self._take_back(size, is_torn=is_torn)
            raise
        self.pending.update(numbered)
        for number, text in zip(numbered, lines, strict=True):
            self._sizes[number] = len(text) + 1
            self.needed += len(text) + 1
        self._last += len(numbered)

    def remove(self, numbers: Sequence[int]) -> None:
        """They were answered. Where a crash forgets that, they are sent again under their keys, and nothing happens."""
        for number in numbers:
            self.pending.pop(number, None)
            self.unfit.pop(number, None)
            self.needed -= self._sizes.pop(number, 0)
        if self._sizes:
            self._write([_encoder.encode(_Line(done=list(numbers)))])
        else:
            os.ftruncate(self._file, 0)
            self.size, self._is_torn = 0, False

    def _write(self, lines: Sequence[bytes]) -> None:
        """A line of its own each, whatever became of the one before."""
        content = b"".join([b"\n" if self._is_torn else b"", *(text + b"\n" for text in lines)])
        self._is_torn = True
        _write(self._file, content)
        self._is_torn = False
        self.size += len(content)

    def _take_back(self, size: int, *, is_torn: bool) -> None:
        """Of what was not kept nothing is left, so that nobody sends half of it."""
        try:
            os.ftruncate(self._file, size)
            os.fsync(self._file)
        except OSError:
            _log.exception("usage that is told to be not recorded may be in %s, and be sent", self.directory)
        else:
            self.size, self._is_torn = size, is_torn

    def compact(self) -> None:
        """Write anew what is pending, without what was answered."""
        path = self.directory / f"{EVENTS}.new"
        new = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            _write(new, b"".join([text + b"\n" for text in self._lines()]))
            os.fsync(new)
            path.replace(self.directory / EVENTS)
        except BaseException:
            os.close(new)
            path.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file, self._is_torn = new, False
        self.size = os.fstat(new).st_size
        sync_directory(self.directory)

    def _lines(self) -> list[bytes]:
        return [*self.unfit.values(), *(_encoder.encode(_Line(*entry)) for entry in self.pending.items())]

    def close(self) -> None:
        """Let go of it. An empty one is removed, as the last thing before the lock is free."""
        if self.is_empty:
            (self.directory / EVENTS).unlink(missing_ok=True)
            (self.directory / LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # somebody put something in it
                self.directory.rmdir()
        self.drop()

    @property
    def is_empty(self) -> bool:
        """Whether all of it was answered."""
        return not self._sizes

    def drop(self) -> None:
        """Close what is open, and change nothing."""
        os.close(self._file)
        os.close(self._lock)


class FileSpool:
    """The process's own directory, and those that it took over."""

    is_durable = True

    def __init__(self, path: Path, kind: str, max_bytes: int) -> None:
        self._path = path
        self._kind = kind
        self._max_bytes = max_bytes
        self._rejected = path / f"rejected-{kind}.jsonl"
        self._lock = RLock()
        self._files: OrderedDict[int, SpoolFile] = OrderedDict()
        """By number; the own one, if there is one yet, has 0, and what was taken over comes first."""
        self._taken = 0

    def forget(self) -> None:
        """In the child of a fork: the locks are the parent's."""
        for file in self._files.values():
            file.drop()
        self._files = OrderedDict()
        self._lock = RLock()

    def add(self, events: Sequence[Event]) -> None:
        """All of them are on the disk when it returns. Raises SpoolFullError, SpoolBrokenError."""
        with self._lock, _as_broken():
            own = self._own()
            size = sum([len(line(event)) + _FRAME_BYTES for event in events])
            if own.size + size > self._max_bytes >= own.needed + size:
                own.compact()
            if own.size + size > self._max_bytes:
                raise SpoolFullError(f"{len(own.pending)} events wait already, {own.size} bytes, in {own.directory}.")
            own.append(events)

    def first(self, count: int) -> list[Waiting]:
        """The oldest, those that were taken over before the own ones."""
        with self._lock:
            numbered = ((number, file) for number, file in sorted(self._files.items(), key=_own_last))
            waiting = (
                Waiting((number, key), event) for number, file in numbered for key, event in file.pending.items()
            )
            return list(islice(waiting, count))

    def remove(self, tickets: Iterable[tuple[int, int]]) -> None:
        """They were answered. What was taken over and is empty goes for good."""
        by_file: dict[int, list[int]] = {}
        for number, key in tickets:
            by_file.setdefault(number, []).append(key)
        with self._lock, _as_broken():
            for number, keys in by_file.items():
                if (file := self._files.get(number)) is None:
                    continue
                file.remove(keys)
                if number and file.is_empty:
                    self._files.pop(number).close()

    def unfit(self) -> list[tuple[tuple[int, int], RejectedEvent]]:
        """Whole lines that hold no usage event, as they are told."""
        with self._lock:
            return [
                ((number, key), told_of(text))
                for number, file in self._files.items()
                for key, text in file.unfit.items()
            ]

    def reject(self, event: RejectedEvent) -> None:
        """One line more in the file of what was rejected, as long as that is not too large."""
        with self._lock, _as_broken():
            self._path.mkdir(parents=True, exist_ok=True)
            file = os.open(self._rejected, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                if os.fstat(file).st_size < self._max_bytes:
                    _write(file, _encoder.encode(event) + b"\n")
                    os.fsync(file)
            finally:
                os.close(file)

    def adopt(self) -> None:
        """Take over directories whose processes are gone, while there is room in memory for what they hold."""
        with self._lock, _as_broken():
            for directory in sorted(self._path.glob(f"{self._kind}-*")):
                if sum(file.size for file in self._files.values()) >= self._max_bytes:
                    return
                self._adopt(directory)

    def _adopt(self, directory: Path) -> None:
        if any(file.directory == directory for file in self._files.values()):
            return
        if (lock := take_lock(directory / LOCK)) is None:
            return
        file = open_with(directory, lock)
        if file.is_empty:
            file.close()
            return
        self._taken += 1
        self._files[self._taken] = file
        _log.warning("%s events of a process that is gone are sent now (%s)", len(file.pending), directory)

    def _own(self) -> SpoolFile:
        if 0 not in self._files:
            self._path.mkdir(parents=True, exist_ok=True)
            self._files[0] = make_own(self._path, self._kind)
        return self._files[0]

    def close(self) -> None:
        """Let go of everything; what is not empty is taken over by another process."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            return sum(len(file.pending) for file in self._files.values())


def read_lines(content: bytes) -> Lines:
    """Events that were not answered, by number, and what is in their places and is none.

    What is no JSON is passed over: a crash cut it short, and nobody was told that it is kept.
    """
    lines = Lines(OrderedDict(), OrderedDict(), {})
    for text in content.split(b"\n"):
        with suppress(ValueError):
            _read_line(text, lines)
    return lines


def _read_line(text: bytes, lines: Lines) -> None:
    """Raises ValueError where it is no JSON."""
    try:
        found = _decoder.decode(text)
        is_fit = found.event is None or not isinstance(found.event.units, Decimal)  # which was a string
    except msgspec.DecodeError:
        found, is_fit = _Line(), False
    if not is_fit:
        raw: Any = json.loads(text)
        number: Any = cast("dict[str, Any]", raw).get("number") if isinstance(raw, dict) else None
        known = isinstance(number, int) and not isinstance(number, bool)
        number = number if known else -1 - sum(1 for key in lines.unfit if key < 0)
        lines.unfit[number], lines.sizes[number] = text, len(text) + 1
        return
    for number in found.done:
        lines.pending.pop(number, None)
        lines.unfit.pop(number, None)
        lines.sizes.pop(number, None)
    if found.event is not None:
        lines.pending[found.number], lines.sizes[found.number] = found.event, len(text) + 1


def told_of(text: bytes) -> RejectedEvent:
    """A line that is no event: what it seems to say, and all of it in the detail."""
    raw: Any = json.loads(text)
    said: Any = cast("dict[str, Any]", raw).get("event") if isinstance(raw, dict) else None
    members = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    units, properties = members.get("units"), members.get("properties")
    return RejectedEvent(
        end_user_id=str(members.get("end_user_id", "")),
        feature_key=str(members.get("feature_key", "")),
        units=units if isinstance(units, (int, float)) and not isinstance(units, bool) else 0,
        idempotency_key=str(members.get("idempotency_key", "")),
        timestamp=str(members.get("timestamp", "")),
        properties=cast("dict[str, Any]", properties) if isinstance(properties, dict) else None,
        code=UNFIT,
        detail=f"The spool has what is no usage event: {text.decode(errors='replace')}",
    )


def make_own(path: Path, kind: str) -> SpoolFile:
    """A new directory. It has its name only once its lock is held, so that nobody takes it over before."""
    name = f"{kind}-{uuid4().hex}"
    hidden, directory = path / f".{name}", path / name
    hidden.mkdir(mode=0o700)
    lock = take_lock(hidden / LOCK, create=True)
    if lock is None:
        raise BlockingIOError(f"{hidden} is locked by somebody else")
    try:
        hidden.rename(directory)
    except OSError:
        os.close(lock)
        raise
    file = open_with(directory, lock)
    sync_directory(directory)
    sync_directory(path)
    return file


def open_with(directory: Path, lock: int) -> SpoolFile:
    """The directory's file. Where it cannot be opened the lock is let go: another process may come to it."""
    try:
        return SpoolFile(directory, lock)
    except OSError:
        os.close(lock)
        raise


def take_lock(path: Path, *, create: bool = False) -> int | None:
    """The open file whose lock is ours; None: its process lives, or it is gone."""
    try:
        lock = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(path.stat(), os.fstat(lock)):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(lock)
        raise
    os.close(lock)
    return None


def sync_directory(path: Path) -> None:
    """Its entries are on the disk."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _own_last(entry: tuple[int, SpoolFile]) -> tuple[bool, int]:
    return entry[0] == 0, entry[0]


@contextmanager
def _as_broken() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolBrokenError(f"The spool's disk says: {error}") from error
