"""Nothing outlives whoever started it, and nothing of what it leaves behind stands in the way of the next start."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.embedded.postgres import start_postgres
from app.embedded.valkey import start_valkey
from tests.app.embedded.probes import is_alive
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
PR_SET_CHILD_SUBREAPER = 36


def starter(data_dir: Path) -> "subprocess.Popen[str]":
    """A process that starts both servers and stays."""
    command = [sys.executable, "-m", "tests.app.embedded.start_servers", str(data_dir)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def report(process: "subprocess.Popen[str]") -> dict[str, int]:
    """What it started."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def kill(process: "subprocess.Popen[str]") -> None:
    """End it without a chance to tidy up."""
    process.kill()
    process.communicate()


def test_servers_end_with_a_killed_parent(tmp_path: Path) -> None:
    """The kernel tells them, since the parent cannot; the next start does not have to wait for them."""
    process = starter(tmp_path)
    started = report(process)
    assert is_alive(started["postgres"])
    assert is_alive(started["valkey"])
    kill(process)
    with start_postgres(tmp_path) as postgres, start_valkey(tmp_path) as valkey:
        assert postgres.pid != started["postgres"]
        assert valkey.pid != started["valkey"]
        assert not is_alive(started["postgres"])
        assert not is_alive(started["valkey"])


def test_servers_are_gone_soon_after_their_parent(tmp_path: Path) -> None:
    """Without any further start."""
    process = starter(tmp_path)
    started = report(process)
    kill(process)
    for name in ("postgres", "valkey"):
        wait_until(lambda pid=started[name]: not is_alive(pid), 30, f"{name} ends with its parent")


def test_two_starts_at_once_give_one_server(tmp_path: Path) -> None:
    """Whoever comes first makes the cluster and starts the server; the other one waits and joins."""
    processes = [starter(tmp_path) for _ in range(3)]
    try:
        reports = [report(process) for process in processes]
        assert reports[0] == reports[1] == reports[2]
    finally:
        for process in processes:
            kill(process)
    for pid in (reports[0]["postgres"], reports[0]["valkey"]):
        wait_until(lambda pid=pid: not is_alive(pid), 30, "the servers end with the one that started them")


@contextmanager
def subreaper() -> Iterator[None]:
    """Orphans become our children, and stay zombies: as where PID 1 does not reap."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_a_zombie_is_no_running_server(tmp_path: Path) -> None:
    """A killed postmaster that nobody reaps still answers kill(pid, 0), which is what Postgres asks."""
    with subreaper():
        process = starter(tmp_path)
        started = report(process)
        postmaster = started["postgres"]
        os.kill(postmaster, signal.SIGKILL)
        wait_until(lambda: not is_alive(postmaster), 30, "the postmaster is dead")
        kill(process)
        os.kill(postmaster, 0)  # it is still there, as a zombie
        with start_postgres(tmp_path) as postgres:
            assert postgres.pid != postmaster
        for pid in (postmaster, started["valkey"]):
            os.waitpid(pid, 0)
