"""One of our own processes: core, edge, flusher or jobs."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

from app.embedded.child import before_exec
from app.embedded.logs import open_log

STOP_SECONDS: Final = 10
_KILL_SECONDS: Final = 10


class RoleProcess:
    """A child with its workers, as one: they share a process group, and none of them outlives the child."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log_path: Path) -> None:
        self.log_path = log_path
        self._command = list(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process, whose death ends the role; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def status(self) -> int | None:
        """The exit status once `has_ended`: 0 is success, below 0 the signal that ended it."""
        return self._process.returncode if self._process else None

    def start(self) -> None:
        """Start the child, in a session of its own: Ctrl-C reaches the supervisor alone."""
        with open_log(self.log_path) as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=before_exec(SIGTERM),  # noqa: PLW1509 - one thread: see before_exec
            )

    def has_ended(self) -> bool:
        """Tell whether the child is gone; its workers go with it, so that its port is free for its successor."""
        if self._process is None:
            return False
        if self._process.returncode is None and self._process.poll() is not None:
            self._kill_group(self._process.pid)
        return self._process.returncode is not None

    def ask_to_stop(self) -> None:
        """Begin an orderly end."""
        if self._process is not None and not self.has_ended():
            self._process.send_signal(SIGTERM)

    def finish_stop(self, deadline: float) -> None:
        """Wait for the end until `deadline` (monotonic seconds), then enforce it."""
        if self._process is None or self.has_ended():
            return
        with suppress(subprocess.TimeoutExpired):  # enforced in the next line
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self._kill_group(self._process.pid)
        self._process.wait(_KILL_SECONDS)

    @staticmethod
    def _kill_group(leader: int) -> None:
        with suppress(ProcessLookupError):  # the usual case: nobody is left in it
            os.killpg(leader, SIGKILL)
