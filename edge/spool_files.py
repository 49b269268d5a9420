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
from pathlib import Path

from edge.spool_format import MAX_RECORD_BYTES, SIGNATURE, SpooledUsage, read_record

SUFFIX = ".spool"
_PRIVATE = 0o600


class SpoolFile:
    """One file, whose lock is held."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.number = 0
        """Its name within the spool."""
        self.size = size
        """Bytes of whole records, with the signature."""
        self.left = 0
        """Events that are not taken in yet."""
        self.oldest_at: int | None = None
        """When the first of its events came, in microseconds."""
        self._descriptor = descriptor

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
        """The event at a place. Raises OSError and TornRecord."""
        return read_record(os.pread(self._descriptor, MAX_RECORD_BYTES, start))[0]

    def content(self) -> bytes:
        """All of it. Raises OSError."""
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            return file.read()

    def cut(self, size: int) -> None:
        """Leave nothing behind so many bytes. Raises OSError."""
        os.ftruncate(self._descriptor, size)
        self.size = size

    def remove(self) -> None:
        """Everything in it was taken in. Raises OSError."""
        self.path.unlink()
        self.close()

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._descriptor)


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


def adopt(directory: Path) -> list[SpoolFile]:
    """The files that nobody holds, those first that were begun first. Raises OSError."""
    with _locked(directory):
        found = [_take(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]
    return [file for file in found if file is not None]


def _take(path: Path) -> SpoolFile | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # its owner has just removed it
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    status = os.fstat(descriptor)
    if not status.st_nlink:  # removed between the two
        os.close(descriptor)
        return None
    return SpoolFile(path, descriptor, status.st_size)


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
