"""What both servers share: one per data directory, ready when `start` returns, gone when its starter is."""

import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from signal import SIGKILL, Signals
from typing import ClassVar, Final, Self

from app.embedded.binaries import Binary
from app.embedded.child import before_exec
from app.embedded.errors import EmbeddedError
from app.embedded.identity import Identity
from app.embedded.locking import FileLock
from app.embedded.logs import open_log, tail
from app.embedded.processes import end_leftovers, processes_in
from app.embedded.sockets import make_private, socket_directory

# Long enough for a crash recovery, or a big append-only file, on a slow disk.
_START_SECONDS: Final = 60
_KILL_SECONDS: Final = 10
_POLL_SECONDS: Final = 0.01

# Nothing of ours leaks into a server, and its messages are in English.
SERVER_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}

# The servers that this process started, by directory: a second start must find the first, and reap it if it is dead.
_owned_here: dict[Path, "EmbeddedServer"] = {}


class EmbeddedServer(ABC):
    """A server on a data directory. Whoever starts it first owns it; later starts join it and cannot stop it.

    The owner holds the directory's lock for as long as it lives. So a lock that can be taken means that nobody owns
    what may still be running there, and that it is to be ended before a new server starts.
    """

    title: ClassVar[str]
    socket_name: ClassVar[str]
    end_signal: ClassVar[Signals]
    stop_seconds: ClassVar[int]

    def __init__(self, data_dir: Path, binary: Binary, identity: Identity | None) -> None:
        self.binary = binary
        self.identity = identity
        # Data does not move between servers or major versions: each has a directory of its own.
        self.directory = data_dir.resolve() / binary.flavour
        self.socket_directory = socket_directory(self.directory, self.socket_name)
        self.log_path = self.directory.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: FileLock | None = None
        self._pid: int | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Bring the directory into a state from which the server can start. The lock is held, nothing runs there."""

    @abstractmethod
    def command(self) -> list[str]:
        """Answer the command line."""

    @abstractmethod
    def ready_pid(self) -> int | None:
        """Answer the process that serves the directory and takes connections now, or None."""

    @property
    def pid(self) -> int:
        """The server's process, as last started or joined; raises EmbeddedError when it never was."""
        if self._pid is None:
            raise EmbeddedError(f"{self.title} was not started.")
        return self._pid

    @property
    def status(self) -> int | None:
        """The exit status once `has_ended`; None for a server that was only joined."""
        return self._process.returncode if self._process else None

    def has_ended(self) -> bool:
        """Tell whether the server is gone, reaping it if it was our child."""
        if self._process is not None:
            return self._process.poll() is not None
        return self._pid not in processes_in(self.directory, self.binary.file.name)

    def start(self) -> Self:
        """Start the server, start it again after its death, or join the one that somebody else owns.

        Returns once it takes connections. Raises EmbeddedError, with the end of its log, when that does not happen.
        """
        before_exec(self.end_signal, self.identity)  # refuses what cannot work before anything is touched
        try:
            self._start_or_join()
        except (OSError, subprocess.SubprocessError) as error:
            user = f" as user '{self.identity.name}'" if self.identity else ""
            raise EmbeddedError(f"{self.title} cannot be started{user} in {self.directory}: {error}") from error
        return self

    def _start_or_join(self) -> None:
        self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            previous = _owned_here.get(self.directory)
            if previous is not None and previous.has_ended():
                previous.stop()
            lock = FileLock.try_acquire(self.directory.with_suffix(".lock"))
            if lock is not None:
                self._start_owned(lock, deadline)
                return
            self._pid = self.ready_pid()
            if self._pid is not None:
                return
            time.sleep(_POLL_SECONDS)
        raise EmbeddedError(
            f"{self.title} in {self.directory} belongs to another running process, but takes no connections."
        )

    def stop(self) -> None:
        """End the server and wait for it. Does nothing to one that was only joined."""
        if self._process is None or self._lock is None:
            return
        if not self.has_ended():
            self._end(self._process)
        _owned_here.pop(self.directory, None)
        if self.socket_directory != self.directory:
            shutil.rmtree(self.socket_directory)
        self._lock.release()
        self._process = self._lock = None

    def __enter__(self) -> Self:
        """Nothing more to do: `start` has returned."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    def _start_owned(self, lock: FileLock, deadline: float) -> None:
        self._lock = lock
        _owned_here[self.directory] = self
        try:
            end_leftovers(self.directory, self.binary.file.name, self.end_signal)
            if self.socket_directory != self.directory:
                make_private(self.socket_directory)
            self.prepare()
            self._process = self._spawn()
            self._pid = self._process.pid
            self._wait_ready(self._process, deadline)
        except BaseException:
            self._abandon()
            raise

    def _spawn(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches the supervisor alone, which stops things in order.
        with open_log(self.log_path) as log:
            return subprocess.Popen(  # noqa: S603 - an executable that a wheel or the system installed
                self.command(),
                cwd=self.directory,
                env=SERVER_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=before_exec(self.end_signal, self.identity),  # noqa: PLW1509 - one thread: see before_exec
            )

    def _wait_ready(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise EmbeddedError(
                    f"{self.title} ended at once with status {process.returncode}:\n{tail(self.log_path)}"
                )
            if self.ready_pid() == process.pid:
                return
            time.sleep(_POLL_SECONDS)
        raise EmbeddedError(f"{self.title} took no connections within {_START_SECONDS} seconds:\n{tail(self.log_path)}")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(self.end_signal)
        try:
            process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(SIGKILL)
            process.wait(_KILL_SECONDS)

    def _abandon(self) -> None:
        """Give up a start that failed: nothing runs, nothing is held."""
        if self._process is not None:
            self.stop()
            return
        _owned_here.pop(self.directory, None)
        if self._lock is not None:
            self._lock.release()
            self._lock = None
