"""Which processes work in a directory, told by what they are and where they stand, never by a remembered number.

A number from a pid file may belong to somebody else by now, and a zombie answers `kill(pid, 0)` although it is dead.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from app.embedded.errors import EmbeddedError

_PROC: Final = Path("/proc")
_GRACE_SECONDS: Final = 10
_KILL_SECONDS: Final = 10
_POLL_SECONDS: Final = 0.01


def processes_in(directory: Path, executable: str) -> set[int]:
    """Answer the live processes, no zombies, of the file named `executable` that stand in `directory` (resolved)."""
    if not (_PROC / "self").exists():
        return processes_by_command_line(directory, executable)
    return {
        int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit() and _stands(entry, directory, executable)
    }


def _stands(entry: Path, directory: Path, executable: str) -> bool:
    try:
        return (entry / "cwd").readlink() == directory and (entry / "exe").readlink().name.removesuffix(
            " (deleted)"
        ) == executable
    except OSError:  # it ended meanwhile, is a zombie, or belongs to someone else: in no case is it ours
        return False


def processes_by_command_line(directory: Path, executable: str) -> set[int]:
    """The same where there is no /proc: both servers name their directory in their command line."""
    listing = subprocess.run(
        ["ps", "-axo", "pid=,command="],  # noqa: S607 - not in the same place on every system
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = [line.strip().partition(" ") for line in listing.splitlines()]
    return {int(pid) for pid, _, command in rows if executable in command and str(directory) in command}


def end_leftovers(directory: Path, executable: str, end_signal: signal.Signals) -> None:
    """End the servers that an earlier owner of the directory left there; returns when none is alive.

    Raises EmbeddedError when one survives even SIGKILL.
    """
    for number, seconds in ((end_signal, _GRACE_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        for pid in processes_in(directory, executable):
            with suppress(ProcessLookupError):  # it ended between the look and the signal
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not processes_in(directory, executable):
                return
            time.sleep(_POLL_SECONDS)
    left = sorted(processes_in(directory, executable))
    raise EmbeddedError(
        f"{executable} still runs in {directory} as process {left} and cannot be ended; end it, then start again."
    )
