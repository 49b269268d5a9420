"""The spool: usage that cannot be taken to Redis now, kept on disk until it can be.

An event is acknowledged once it is synced. Syncing goes on in a thread, once at a time, and whatever came meanwhile
goes with the next one. In memory there is only where each customer's events are. While a customer has some here, new
usage of theirs joins behind it (`recording`); `draining` takes it to Redis, in order, and strikes it off. A file goes
when all of it was struck off.

What workers that have died left is adopted a file at a time, so that others find some too, and read a piece at a time,
while memory has room for where it stands. What is not read yet counts as spooled, and nothing new waits behind it.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol
from uuid import UUID

from app.wire.codes import Code
from edge.refusals import Refusal, store_unavailable
from edge.settings import SettingsError
from edge.spool_files import DAMAGED_SUFFIX, SpoolFile, adopt, create, make
from edge.spool_format import Scanned, SpooledUsage, encode_record
from edge.spool_waiting import Waiting

log = getLogger(__name__)

FILE_BYTES = 64 * 1024 * 1024
"""A file of this size gets no more records, so that one event that has to wait holds up no others' room."""
ADOPT_SECONDS = 15
"""How often a worker looks for what others have left, but for its start: one that died may have no successor."""
ADOPTED_FILES = 64
"""Open files beyond which it takes no more of them, as it takes none while its spool is full."""
READ_ON_SECONDS = 1
"""How often it looks whether there is room to read on in what it has adopted."""
ADOPTED_BYTES = 64 * 1024 * 1024
"""Memory beyond which nothing more is read in of what others have left."""
EVENT_BYTES, CUSTOMER_BYTES = 8, 512
"""What an event takes of it, and a customer."""
TELL_SECONDS = 10
"""How often the log says what is spooled, while anything is."""

_OFFSET_BITS = 40


class Recipient(Protocol):
    """Who is told what became of an event; exactly one of the two is called, once."""

    def spooled(self, event_id: UUID) -> None:
        """It is on disk, and will be taken in or listed as rejected."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """It is not kept."""
        ...


class _Taken(NamedTuple):
    record: bytes
    usage: SpooledUsage
    waiting: Waiting
    recipient: Recipient


class Spool:
    """Of one worker. Made inside the running loop."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self.waiting: dict[bytes, Waiting] = {}
        """Customers with usage in the spool, by account ref."""
        self.in_turn: asyncio.Queue[Waiting] = asyncio.Queue()
        """Customers with usage that can be drained."""
        self.again: asyncio.Queue[Waiting] = asyncio.Queue()
        """Those of whom something was in the way the last time, once they have waited for a while."""
        self._bytes = 0
        self._files: dict[int, SpoolFile] = {}
        self._unread: deque[SpoolFile] = deque()
        """Adopted files of which not all is known yet."""
        self._unusable: set[Path] = set()
        self._numbers = itertools.count()
        self._current: SpoolFile | None = None
        self._taken: list[_Taken] = []
        self._writing: asyncio.Task[None] | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._cannot_write = False

    @property
    def size(self) -> int:
        """Bytes that are on disk or on their way there."""
        return self._bytes

    @property
    def complaint(self) -> str:
        """Why it takes nothing at this moment, and what to do; nothing where it does."""
        if self._bytes >= self._max_bytes:
            return "It is full, or SPOOL_MAX_BYTES is 0; usage is taken in as soon as the stores are there again."
        if self._cannot_write:
            return "It could not be written the last time; see the log, and the disk of SPOOL_DIRECTORY."
        return ""

    @property
    def oldest_at(self) -> int | None:
        """When the first usage of the oldest file came, in microseconds; None = nothing is spooled."""
        moments = [file.oldest_at for file in self._files.values() if file.oldest_at] if self.waiting else []
        return min(moments, default=None)

    # ---- what others have left

    async def open(self) -> None:
        """Adopt what workers that have died left here. Raises SettingsError where the directory cannot be used."""
        try:
            make(self._directory)
            kept_aside = [path.name for path in self._directory.iterdir() if path.suffix == DAMAGED_SUFFIX]
        except OSError as error:
            raise SettingsError(f"SPOOL_DIRECTORY: {error}") from error
        if kept_aside:
            log.error("%s has %d damaged files, %s first", self._directory, len(kept_aside), min(kept_aside))
        while await self._adopt():
            pass

    async def adopt_now_and_then(self) -> NoReturn:
        """Adopt what was left since, and read on where there was no room before; runs until cancelled."""
        while True:
            if not await self._adopt():
                await asyncio.sleep(READ_ON_SECONDS if self._unread else ADOPT_SECONDS)

    async def _adopt(self) -> bool:
        """Read one more piece of what was left, or take one more file; False where nothing can be done now."""
        if self._unread:
            has_memory = self._has_memory()
            if has_memory:
                self._keep_piece(self._unread[0], await asyncio.to_thread(self._unread[0].scan_piece))
            return has_memory
        if self._files and (self._bytes >= self._max_bytes or len(self._files) >= ADOPTED_FILES):
            return False
        try:
            file = await asyncio.to_thread(adopt, self._directory, self._unusable)
        except OSError as error:
            log.error("%s cannot be looked through: %s", self._directory, error)  # noqa: TRY400 - a passing state
            return False
        if file is not None:
            log.info("%s is adopted: %d bytes", file.path, file.size)
            self._keep(file)
            self._unread.append(file)
            self._forget_if_read(file)
        return file is not None

    def _has_memory(self) -> bool:
        events = sum(file.left for file in self._files.values())
        return events * EVENT_BYTES + len(self.waiting) * CUSTOMER_BYTES < ADOPTED_BYTES

    def _keep_piece(self, file: SpoolFile, piece: Scanned) -> None:
        is_first = not self.waiting
        file.read_to = piece.end
        file.damaged += piece.damaged
        file.left += len(piece.found)
        for start, usage in piece.found:
            file.oldest_at = file.oldest_at or usage.received_at
            waiting = self._of(usage.ref)
            waiting.add(file.number << _OFFSET_BITS | start)
            self._put_in_turn(waiting)
        self._forget_if_read(file)
        if is_first:
            self._tell()

    def _forget_if_read(self, file: SpoolFile) -> None:
        if file.is_read:
            self._unread.remove(file)
            self._remove_if_done(file)

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
                    self._cannot_write = True
                    self._give_up(taken)
                else:
                    self._cannot_write = False
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
        """The event at a place. Raises OSError and NoWholeRecord."""
        return self._files[place >> _OFFSET_BITS].read(place & (1 << _OFFSET_BITS) - 1)

    def give_up(self, place: int, error: Exception) -> None:
        """The event at a place cannot be read any more: once the rest of its file is taken in, that is kept aside."""
        file = self._files[place >> _OFFSET_BITS]
        file.damaged += 1
        log.error("an event in %s cannot be read any more: %s", file.path, error)

    def settle(self, waiting: Waiting, done: Sequence[bool]) -> None:
        """Strike those of the customer's first events off that are done with; the rest gets its turn again."""
        for place in waiting.strike(done):
            file = self._files[place >> _OFFSET_BITS]
            file.left -= 1
            self._remove_if_done(file)
        if waiting and waiting.pause_seconds:
            asyncio.get_running_loop().call_later(waiting.pause_seconds, self.again.put_nowait, waiting)
        else:
            waiting.is_in_turn = False
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
        if file.left or not file.is_read:
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
        age_seconds = (now_at - (self.oldest_at or now_at)) // 1_000_000
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
