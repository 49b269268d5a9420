"""`python -m edge.main`: reserves the port, starts the workers, and starts again those that die.

The workers are forked from this process, which has no thread and no event loop, so one that died is replaced at once.
They die with it (see `worker.end_with`). At SIGTERM or SIGINT each worker answers what is under way; all exit with 0.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from typing import NoReturn

from app.wire.redaction import Redactor, secrets_of
from edge import log_lines, metrics, worker
from edge.listener import DRAIN_SECONDS
from edge.settings import EdgeSettings, Secret, SettingsError, read

log = logging.getLogger("edge")

STOP_SECONDS = DRAIN_SECONDS + 2
"""What a worker has to end by itself before it is killed."""
YOUNG_SECONDS = 1.0
"""A worker that dies younger than this is replaced after as long, so that a lasting fault does not spin."""


def main() -> int:
    """Run until told to stop; the exit code."""
    try:
        settings = read()
    except SettingsError as error:
        sys.stderr.write(f"edge: cannot start\n{error}\n")
        return worker.EX_CONFIG
    log_lines.configure(settings.log_level, Redactor(secrets_of(settings, Secret)))
    try:
        reservation = reserve(settings.edge_host, settings.edge_port)
    except OSError as error:
        log.error("cannot listen on %s:%d: %s", settings.edge_host, settings.edge_port, error.strerror)  # noqa: TRY400
        return os.EX_UNAVAILABLE
    with reservation:
        return Supervisor(settings, reservation).run()


def reserve(host: str, port: int) -> socket.socket:
    """A socket that is bound and never listens: the port stays ours while workers come and go. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:  # alone, so that another edge on this port is noticed
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()
    reservation = socket.socket(family, kind, protocol)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind(address)
    return reservation


class Supervisor:
    """The workers, by process id: which number each has, and when it was started."""

    def __init__(self, settings: EdgeSettings, reservation: socket.socket) -> None:
        self._settings = settings
        self._reservation = reservation
        self._started: dict[int, tuple[int, float]] = {}
        self._board = metrics.Board(settings.edge_workers)
        self._is_stopping = False
        self._code = os.EX_OK
        self._handlers = {signal.SIGTERM: self._on_stop, signal.SIGINT: self._on_stop, signal.SIGALRM: self._on_late}

    def run(self) -> int:
        """Keep the workers going until told to stop; the exit code."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for number in range(self._settings.edge_workers):
            self._start(number)
        while self._started:
            pid, status = os.wait()
            self._replace(pid, os.waitstatus_to_exitcode(status))
        return self._code

    def _start(self, worker_number: int) -> None:
        """Fork a worker, unless told to stop. Signals wait meanwhile: none meets a worker that is not noted yet."""
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, self._handlers)
        if not self._is_stopping:
            pid = os.fork()
            if not pid:
                self._become_worker(parent, worker_number)
            self._started[pid] = worker_number, time.monotonic()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handlers)

    def _become_worker(self, parent: int, worker_number: int) -> NoReturn:
        code = 1
        try:
            for number in self._handlers:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handlers)
            self._reservation.close()
            self._board.take(worker_number)
            code = worker.run(self._settings, parent)
        except Exception:
            log.exception("worker failed")
        finally:
            logging.shutdown()
            os._exit(code)  # nothing of the parent's is to be unwound here

    def _replace(self, pid: int, code: int) -> None:
        worker_number, started_at = self._started.pop(pid)
        if self._is_stopping:
            return
        if code == worker.EX_CONFIG:
            self._code = code
            self._stop()
            return
        log.warning("worker %d ended with %d; starting another", pid, code)
        if time.monotonic() - started_at < YOUNG_SECONDS:
            time.sleep(YOUNG_SECONDS)
        self._start(worker_number)

    def _on_stop(self, _number: int, _frame: object) -> None:
        self._stop()

    def _on_late(self, _number: int, _frame: object) -> None:
        self._signal_all(signal.SIGKILL)

    def _stop(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            signal.alarm(self._settings.edge_stop_delay_seconds + STOP_SECONDS)
            self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._started:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main())
