"""The spool: usage that cannot be taken to Redis now, kept on disk until it can be.

An event is acknowledged once it is synced. Syncing goes on in a thread, once at a time, and whatever came meanwhile
goes with the next one. In memory there is only where each customer's events are. While a customer has some here, new
usage of theirs joins behind it (`recording`); `draining` takes it to Redis, in order, and strikes it off. A file goes
when all of it was struck off.
"""

import asyncio
import itertools
import time
from array import array
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol
from uuid import UUID

from app.wire.codes import Code
from edge.refusals import Refusal, store_unavailable
from edge.settings import SettingsError
from edge.spool_files import SpoolFile, adopt, create
from edge.spool_format import SIGNATURE, SpooledUsage, encode_record, scan

log = getLogger(__name__)

FILE_BYTES = 64 * 1024 * 1024
"""A file of this size gets no more records, so that one event that has to wait holds up no others' room."""
ADOPT_SECONDS = 15
"""How often a worker looks for what others have left, but for its start: one that died may have no successor."""
TELL_SECONDS = 10
"""How often the log says what is spooled, while anything is."""

_OFFSET_BITS = 40
_MOST_STRUCK = 4096


class Recipient(Protocol):
    """Who is told what became of an event; exactly one of the two is called, once."""

    def spooled(self, event_id: UUID) -> None:
        """It is on disk, and will be taken in or listed as rejected."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """It is not kept."""
        ...


class Waiting:
    """What one customer has in the spool, and how taking it in goes."""

    __slots__ = ("_first", "_places", "faults", "is_in_turn", "pause_seconds", "ref", "unwritten", "width")

    def __init__(self, ref: bytes) -> None:
        self.ref = ref
        self.unwritten = 0
        """Events on their way to the disk."""
        self.is_in_turn = False
        """Whether it stands in the queue of those that can be drained, or is being drained."""
        self.width = 1
        """How many are taken to Redis at once."""
        self.pause_seconds = 0.0
        self.faults = 0
        """Times in a row that taking the first one in was a fault of ours."""
        self._places = array("Q")  # numbers of files and offsets; up to `_first` they are struck off
        self._first = 0

    def __len__(self) -> int:
        """How many of its events are on disk."""
        return len(self._places) - self._first

    def add(self, place: int) -> None:
        """One more is on disk."""
        self._places.append(place)

    def first(self, count: int) -> Sequence[int]:
        """The places of its first events."""
        return self._places[self._first : self._first + count]

    def strike(self, done: Sequence[bool]) -> list[int]:
        """Take those of the first events off the list that are `done`; their places."""
        places = self.first(len(done))
        left = [place for place, is_done in zip(places, done, strict=True) if not is_done]
        end = self._first + len(done)
        self._first = end - len(left)
        self._places[self._first : end] = array("Q", left)
        if self._first > _MOST_STRUCK and self._first > len(self):
            del self._places[: self._first]
            self._first = 0
        return [place for place, is_done in zip(places, done, strict=True) if is_done]


class _Taken(NamedTuple):
    record: bytes
    usage: SpooledUsage
    waiting: Waiting
    recipient: Recipient


class _Adopted(NamedTuple):
    file: SpoolFile
    found: list[tuple[int, bytes]]
    """Where each event stands, and whose it is."""


class Spool:
    """Of one worker. Made inside the running loop."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self.waiting: dict[bytes, Waiting] = {}
        """Customers with usage in the spool, by account ref."""
        self.in_turn: asyncio.Queue[Waiting] = asyncio.Queue()
        """Customers with usage that can be drained."""
        self._bytes = 0
        self._files: dict[int, SpoolFile] = {}
        self._numbers = itertools.count()
        self._current: SpoolFile | None = None
        self._taken: list[_Taken] = []
        self._writing: asyncio.Task[None] | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._is_closed = False

    # ---- what others have left

    def open(self) -> None:
        """Adopt what workers that have died left here. Raises SettingsError where the directory cannot be used."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            next(self._directory.iterdir(), None)
        except OSError as error:
            raise SettingsError(f"SPOOL_DIRECTORY: {error}") from error
        try:
            self._keep_adopted(_adopt(self._directory))
        except OSError as error:  # of one old file: it is tried again, and metering goes on meanwhile
            log.error("spooled usage cannot be adopted yet: %s", error)  # noqa: TRY400 - a broken disk has no traceback

    async def adopt_now_and_then(self) -> NoReturn:
        """Adopt what was left since; runs until cancelled."""
        while True:
            await asyncio.sleep(ADOPT_SECONDS)
            try:
                self._keep_adopted(await asyncio.to_thread(_adopt, self._directory))
            except OSError as error:
                log.error("%s cannot be looked through: %s", self._directory, error)  # noqa: TRY400 - a passing state

    def _keep_adopted(self, adopted: list[_Adopted]) -> None:
        is_first = not self.waiting
        for file, found in adopted:
            self._keep(file)
            for start, ref in found:
                self._of(ref).add(file.number << _OFFSET_BITS | start)
            for _, ref in found:
                self._put_in_turn(self._of(ref))
            self._remove_if_done(file)
        if is_first:
            self._tell()

    def _keep(self, file: SpoolFile) -> None:
        file.number = next(self._numbers)
        self._files[file.number] = file
        self._bytes += file.size

    def _of(self, ref: bytes) -> Waiting:
        waiting = self.waiting.get(ref)
        if waiting is None:
            waiting = self.waiting[ref] = Waiting(ref)
        return waiting

    # ---- taking in

    def take(self, usage: SpooledUsage, recipient: Recipient) -> None:
        """Keep an event; the recipient is told once it is on disk, or that it cannot be kept."""
        record = encode_record(usage)
        if self._is_closed:
            recipient.refused(store_unavailable("The edge is stopping; try again."))
        elif self._bytes + len(record) > self._max_bytes:
            detail = "The spool, which keeps usage that cannot be taken in yet, is full; try again."
            recipient.refused(Refusal(Code.BACKLOG, detail))
        else:
            is_first = not self.waiting
            waiting = self._of(usage.ref)
            waiting.unwritten += 1
            self._bytes += len(record)
            self._taken.append(_Taken(record, usage, waiting, recipient))
            if self._writing is None:
                self._writing = asyncio.get_running_loop().create_task(self._write())
            if is_first:
                self._tell()

    async def _write(self) -> None:
        """Write and sync until nothing more has come."""
        try:
            while self._taken:
                taken, self._taken = self._taken, []
                try:
                    if self._current is None:
                        self._current = await asyncio.to_thread(create, self._directory, time.time_ns() // 1000)
                        self._keep(self._current)
                    records = b"".join([event.record for event in taken])
                    start = await asyncio.to_thread(self._current.append, records)
                except (OSError, RuntimeError, MemoryError) as error:  # no room on the disk, no thread, no memory
                    log.error("the spool cannot be written: %s", error)  # noqa: TRY400 - a full disk has no traceback
                    self._give_up(taken)
                else:
                    self._acknowledge(taken, self._current, start)
        finally:
            self._writing = None

    def _acknowledge(self, taken: list[_Taken], file: SpoolFile, start: int) -> None:
        file.left += len(taken)
        file.oldest_at = file.oldest_at or taken[0].usage.received_at
        for record, usage, waiting, recipient in taken:
            waiting.unwritten -= 1
            waiting.add(file.number << _OFFSET_BITS | start)
            start += len(record)
            self._put_in_turn(waiting)
            recipient.spooled(usage.event_id)
        if file.size >= FILE_BYTES:
            self._current = None

    def _give_up(self, taken: list[_Taken]) -> None:
        """Nothing of it is on disk; what comes next gets another file."""
        file, self._current = self._current, None
        if file is not None:
            self._remove_if_done(file)
        for record, _, waiting, recipient in taken:
            self._bytes -= len(record)
            waiting.unwritten -= 1
            self._forget_if_done(waiting)
            recipient.refused(store_unavailable("A store cannot be reached, and usage cannot be spooled; try again."))

    # ---- draining

    def read(self, place: int) -> SpooledUsage:
        """The event at a place. Raises OSError and TornRecord."""
        return self._files[place >> _OFFSET_BITS].read(place & (1 << _OFFSET_BITS) - 1)

    def settle(self, waiting: Waiting, done: Sequence[bool]) -> None:
        """Strike those of the customer's first events off that are done with; the rest gets its turn again."""
        waiting.is_in_turn = False
        for place in waiting.strike(done):
            file = self._files[place >> _OFFSET_BITS]
            file.left -= 1
            self._remove_if_done(file)
        self._put_in_turn(waiting)
        self._forget_if_done(waiting)

    def _put_in_turn(self, waiting: Waiting) -> None:
        if waiting and not waiting.is_in_turn:
            waiting.is_in_turn = True
            self.in_turn.put_nowait(waiting)

    def _forget_if_done(self, waiting: Waiting) -> None:
        if not waiting and not waiting.unwritten:
            del self.waiting[waiting.ref]
            if not self.waiting and self._telling is not None:
                self._telling.cancel()
                log.warning("spooled: nothing any more")

    def _remove_if_done(self, file: SpoolFile) -> None:
        if file.left:
            return
        if file is self._current:
            if self._writing is not None:  # more is on its way into it
                return
            self._current = None
        del self._files[file.number]
        self._bytes -= file.size
        try:
            file.remove()
        except OSError as error:
            log.error("%s cannot be removed, and will be read again: %s", file.path, error)  # noqa: TRY400

    # ---- the worker

    def _tell(self) -> None:
        """Log how much is spooled and since when, for as long as there is anything."""
        if not self.waiting or self._is_closed:
            return
        now_at = time.time_ns() // 1000
        oldest_at = min((file.oldest_at for file in self._files.values() if file.oldest_at), default=now_at)
        age_seconds = (now_at - oldest_at) // 1_000_000
        log.warning("spooled: %d customers, %d bytes, since %d s", len(self.waiting), self._bytes, age_seconds)
        self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    async def close(self) -> None:
        """Write what was taken, and let the files go; whoever starts next adopts them."""
        self._is_closed = True
        if self._writing is not None:
            await self._writing
        while self._files:
            self._files.popitem()[1].close()
        if self.waiting:
            log.warning("spooled usage of %d customers waits for the next start", len(self.waiting))


def _adopt(directory: Path) -> list[_Adopted]:
    """The files that nobody holds, read and cut where they are torn. Raises OSError."""
    return [adopted for file in adopt(directory) if (adopted := _read(file)) is not None]


def _read(file: SpoolFile) -> _Adopted | None:
    content, found, end = file.content(), list[tuple[int, bytes]](), len(SIGNATURE)
    if not SIGNATURE.startswith(content[:end].rstrip(b"\0")):
        log.error("%s is no spool of this version; it is left as it is", file.path)
        file.close()
        return None
    for start, usage, end in scan(content):  # noqa: B007 - the last end is where the file is to end
        found.append((start, usage.ref))
        file.oldest_at = file.oldest_at or usage.received_at
    file.left = len(found)
    if end < file.size:
        log.warning("%s ends in a torn record: %d bytes are cut", file.path, file.size - end)
        file.cut(end)
    log.info("%s is adopted with %d events", file.path, file.left)
    return _Adopted(file, found)
