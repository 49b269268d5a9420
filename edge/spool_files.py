"""The files of a spool: appended to and synced by a thread, read again by whoever holds their lock.

A worker holds the lock of each of its files for as long as it lives, however it ends. So a file whose lock can be had
belongs to a worker that has died, and is adopted by the one that finds it. Files are named by the moment at which they
were begun.
"""

import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from logging import getLogger
from pathlib import Path

from edge.spool_format import MAX_RECORD_BYTES, SIGNATURE, Scanned, SpooledUsage, read_record, scan

log = getLogger(__name__)

SUFFIX = ".spool"
DAMAGED_SUFFIX = ".damaged"
"""Of a file that was taken in but for what of it is no event. Under its old name it would be read again."""
PIECE_BYTES = 256 * 1024
"""As much of an adopted file is read at once."""
PAGE_BYTES = 4096
"""Where a disk is broken, reading goes on with its next page."""

_PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700
_ANY_SIGNATURE = b"qs-spool-"


class OtherVersion(Exception):
    """It is a spool whose records have another form."""


class SpoolFile:
    """One file, whose lock is held."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.number = 0
        """Its name within the spool."""
        self.size = size
        """Bytes on disk."""
        self.left = 0
        """Events of it that are known and not taken in yet."""
        self.read_to = self.read_until = 0
        """Between the two it is not read yet: of an adopted file nothing is known at first."""
        self.damaged = 0
        """Stretches that are no events, and events that cannot be read any more."""
        self.oldest_at: int | None = None
        """When the first of its events came, in microseconds."""
        self._descriptor = descriptor

    @property
    def is_read(self) -> bool:
        """Whether all its events are known."""
        return self.read_to >= self.read_until

    def append(self, records: bytes) -> int:
        """Write and sync; where the records begin. Raises OSError, and leaves the file as it was as far as it can."""
        start = self.size
        try:
            _write(self._descriptor, records, start)
            os.fsync(self._descriptor)
        except OSError:
            with suppress(OSError):  # the first failure is told; what stays behind is torn, or taken in for nobody
                os.ftruncate(self._descriptor, start)
            raise
        self.size = start + len(records)
        return start

    def read(self, start: int) -> SpooledUsage:
        """The event at a place. Raises OSError and NoWholeRecord."""
        return read_record(os.pread(self._descriptor, MAX_RECORD_BYTES, start))[0]

    def scan_piece(self) -> Scanned:
        """The events of the piece that is to be read next; whoever calls it moves `read_to` to its end."""
        start = self.read_to
        is_last = start + PIECE_BYTES >= self.read_until
        content, error = _read(self._descriptor, PIECE_BYTES + is_last * MAX_RECORD_BYTES, start)
        if error is not None:  # a part of the disk is broken, and others may not be
            broken_at = start + len(content)
            log.error("%s cannot be read at byte %d: %s", self.path, broken_at, error)
            found = [(start + place, usage) for place, usage in scan(content, is_last=True).found]
            return Scanned(found, broken_at - broken_at % PAGE_BYTES + PAGE_BYTES, 1)
        is_last = is_last or len(content) < PIECE_BYTES  # somebody has cut it
        found, end, damaged = scan(content, is_last=is_last)
        if damaged:
            log.error("%s is damaged between bytes %d and %d", self.path, start, start + len(content))
        if is_last and end < len(content):
            torn_bytes = self.size - start - end
            log.warning("%s ends in a torn record: %d bytes were never acknowledged", self.path, torn_bytes)
        found = [(start + place, usage) for place, usage in found]
        return Scanned(found, self.read_until if is_last else start + end, damaged)

    def remove(self) -> None:
        """All of it was taken in; where something could not be read, it is kept under another name. Raises OSError."""
        if self.damaged:
            kept = self.path.rename(self.path.with_suffix(DAMAGED_SUFFIX))
            log.error("%s is kept: %d places in it cannot be read, all else of it is taken in", kept, self.damaged)
        else:
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._descriptor)


def make(directory: Path) -> None:
    """Have the directory, and those above it. What is made of them outlives a loss of power. Raises OSError."""
    missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        parent = os.open(folder.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def create(directory: Path, now_at: int) -> SpoolFile:
    """A new file, empty and durable, its lock ours. Raises OSError."""
    path = directory / f"{now_at:020d}-{secrets.token_hex(4)}{SUFFIX}"
    with _locked(directory) as folder:  # nobody adopts it before its lock is ours
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(descriptor, SIGNATURE, 0)
            os.fsync(descriptor)
            os.fsync(folder)
        except BaseException:
            os.close(descriptor)
            raise
    return SpoolFile(path, descriptor, len(SIGNATURE))


def adopt(directory: Path, unusable: set[Path]) -> SpoolFile | None:
    """Of the files that nobody holds the one that was begun first; nothing of it is read yet. Raises OSError.

    Those that cannot be used are passed over, and added to `unusable`, so that the log says it once.
    """
    with _locked(directory):
        for path in sorted(directory.glob(f"*{SUFFIX}")):
            try:
                file = _take(path)
            except (OSError, OtherVersion) as error:
                if path not in unusable:
                    log.error("%s cannot be adopted: %s", path, error)  # noqa: TRY400 - a file has no traceback
                    unusable.add(path)
            else:
                if file is not None:
                    return file
    return None


def _take(path: Path) -> SpoolFile | None:
    """The file, unless somebody holds it, or its owner has just removed it. Raises OSError and OtherVersion."""
    file = None
    with suppress(FileNotFoundError, BlockingIOError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                file = _unread(path, descriptor)
        finally:
            if file is None:
                os.close(descriptor)
    return file


def _unread(path: Path, descriptor: int) -> SpoolFile:
    """A file that another has left. Raises OSError and OtherVersion."""
    file = SpoolFile(path, descriptor, os.fstat(descriptor).st_size)
    file.read_until = file.size
    with suppress(OSError):  # what cannot be read here is damage, and found to be when it is scanned
        signature = os.pread(descriptor, len(SIGNATURE), 0)
        if signature.startswith(_ANY_SIGNATURE) and not SIGNATURE.startswith(signature.rstrip(b"\0")):
            raise OtherVersion(f"it begins with {signature!r}")
        if signature == SIGNATURE:
            file.read_to = len(SIGNATURE)
        file.read_until = _content_end(descriptor, file.size)
    return file


def _content_end(descriptor: int, size: int) -> int:
    """Where the zeros begin that a file system had room for and no content. Raises OSError."""
    while size:
        start = max(0, size - PIECE_BYTES)
        content, error = _read(descriptor, size - start, start)
        if error is not None:
            raise error
        if content := content.rstrip(b"\0"):
            return start + len(content)
        size = start
    return 0


def _read(descriptor: int, size: int, start: int) -> tuple[bytes, OSError | None]:
    """So many bytes, fewer only where the file ends; or those before what cannot be read, and why it cannot.

    One call of the system may answer with what comes before a broken page, and fail only where a read begins with it.
    """
    content = b""
    while len(content) < size:
        try:
            more = os.pread(descriptor, size - len(content), start + len(content))
        except OSError as error:
            return content, error
        if not more:
            break
        content += more
    return content, None


@contextmanager
def _locked(directory: Path) -> Generator[int]:
    """The directory for us alone: files are made, and looked for, by one process at a time. Its descriptor."""
    folder = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _write(descriptor: int, content: bytes, start: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, start)
        view, start = view[written:], start + written
