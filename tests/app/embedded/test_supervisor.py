"""Restarting: at once, but never as a storm."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.embedded.errors import EmbeddedError
from app.embedded.role import RoleProcess
from app.embedded.supervisor import Supervisor, restart_delay_seconds
from tests.app.embedded.probes import is_alive
from tests.waiting import wait_until

# Starts a worker, writes the worker's process to the file, and stays.
WITH_A_WORKER = """
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
with open(sys.argv[1], "w") as file:
    file.write(str(worker.pid))
worker.wait()
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


def silent(_name: str, _what: str) -> None:
    """Say nothing."""


def role(tmp_path: Path, program: str, *arguments: str) -> RoleProcess:
    """A role that runs a Python program."""
    return RoleProcess([sys.executable, "-c", program, *arguments], {"PATH": os.environ["PATH"]}, tmp_path / "role.log")


@pytest.mark.parametrize(
    ("short_lives", "seconds"), [(0, 0), (1, 0), (2, 0.1), (3, 0.2), (5, 0.8), (9, 10), (10**6, 10)]
)
def test_who_keeps_dying_is_started_ever_more_slowly(short_lives: int, seconds: float) -> None:
    """The first death costs no time, the tenth ten seconds, and that is the most."""
    assert restart_delay_seconds(short_lives) == pytest.approx(seconds)


@dataclass
class Mortal:
    """A child that counts its starts and is dead whenever it is told to be."""

    starts: int = 0
    dead: bool = False
    refuses: bool = False
    status: int | None = 1

    @property
    def pid(self) -> int:
        """A new one for each start."""
        return self.starts

    def start(self) -> None:
        """Count, or refuse."""
        self.starts += 1
        if self.refuses:
            raise EmbeddedError("not today")

    def has_ended(self) -> bool:
        """As told."""
        return self.dead


def starts_within(supervisor: Supervisor, child: Mortal, begin: int, end: int) -> int:
    """How often the child is started between two moments, looked after ten times a second."""
    before = child.starts
    for tenth in range(begin * 10, end * 10):
        supervisor.tend(tenth / 10)
    return child.starts - before


@pytest.mark.parametrize("refuses", [False, True])
def test_who_keeps_dying_makes_no_storm(refuses: bool) -> None:  # noqa: FBT001 - a case of the table
    """Whether it dies at once or does not even start: soon every ten seconds, and for ever."""
    supervisor, child = Supervisor(silent), Mortal()
    supervisor.start("child", child, 0)
    child.dead, child.refuses = True, refuses
    assert 5 <= starts_within(supervisor, child, 0, 60) <= 14
    assert 9 <= starts_within(supervisor, child, 60, 160) <= 10


def test_who_lived_long_is_started_at_once() -> None:
    """However often it died before."""
    supervisor, child = Supervisor(silent), Mortal()
    supervisor.start("child", child, 0)
    for death in range(1, 20):
        child.dead = True
        assert supervisor.tend(death * 3)
        child.dead = False
        assert not supervisor.tend(death * 3 + 1)


def test_a_killed_role_is_started_again(tmp_path: Path) -> None:
    """And its process is known; one that lives is left alone."""
    said: list[str] = []
    supervisor = Supervisor(lambda name, what: said.append(f"{name}: {what}"))
    child = role(tmp_path, "import signal; signal.pause()")
    supervisor.start("child", child, 0)
    first = supervisor.pids["child"]
    assert not supervisor.tend(1)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisor.tend(1), 30, "the child is started again")
    assert supervisor.pids["child"] == child.pid != first
    assert said[1:] == [
        f"child: process {first} ended with status -9; starting it again",
        f"child: started again, process {child.pid}",
    ]
    child.finish_stop(0)


def test_workers_end_with_their_role(tmp_path: Path) -> None:
    """A role that is killed cannot stop its workers, and its successor wants their port."""
    note = tmp_path / "worker"
    child = role(tmp_path, WITH_A_WORKER, str(note))
    child.start()
    worker = int(wait_until(lambda: note.exists() and note.read_text(), 30, "the worker runs"))
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    wait_until(child.has_ended, 30, "the role is dead")
    wait_until(lambda: not is_alive(worker), 30, "its worker is dead")


def test_a_deaf_role_is_killed(tmp_path: Path) -> None:
    """An orderly end is asked for, and enforced at the deadline."""
    child = role(tmp_path, DEAF)
    child.start()
    wait_until(lambda: b"deaf" in (tmp_path / "role.log").read_bytes(), 30, "the role ignores SIGTERM")
    child.ask_to_stop()
    child.finish_stop(time.monotonic() + 0.1)
    assert child.status == -signal.SIGKILL
