"""Servers over HTTP on a free port of loopback: ready when they are handed over, gone afterwards."""

import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from app.embedded.logs import tail
from app.embedded.role import RoleProcess
from loadtests.accepting import STREAM_MAX_ENTRIES
from loadtests.programs import find

READY_SECONDS = 15
STOP_SECONDS = 5
REQUEST_SECONDS = 5
POLL_SECONDS = 0.02


class ServerFailed(Exception):
    """A server did not come up; says what it wrote."""


class Answer(NamedTuple):
    """Status and body."""

    status: int
    body: bytes


def get(port: int, target: str, key: str = "") -> Answer:
    """One GET to a server on loopback. Raises OSError or HTTPException."""
    connection = HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    finally:
        connection.close()


@contextmanager
def running_edge(directory: Path, redis_url: str, key_pepper: str) -> Iterator[tuple[int, int]]:
    """The edge with one worker and without core; its port and the process that its worker ends with."""
    port = free_port()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "EDGE_PORT": str(port),
        "EDGE_WORKERS": "1",
        "REDIS_URL": redis_url,
        "KEY_PEPPER": key_pepper,
        "INTERNAL_SECRET": secrets.token_hex(),
        "STREAM_MAX_ENTRIES": str(STREAM_MAX_ENTRIES),
        "SPOOL_DIRECTORY": str(directory / "spool"),
        "LOG_LEVEL": "warning",
    }
    with running([sys.executable, "-m", "edge.main"], environment, directory / "edge.log") as process:
        wait_ready(port, "/readyz", directory / "edge.log")
        assert process.pid is not None  # noqa: S101 - it answers
        yield port, process.pid


@contextmanager
def running_nginx(directory: Path, content_type: str, body: str) -> Iterator[int]:
    """An nginx with one worker that answers everything with the same body; its port."""
    port = free_port()
    (directory / "nginx.conf").write_text(_NGINX % (port, content_type, body))
    command = [find("nginx"), "-p", str(directory), "-c", "nginx.conf", "-e", "nginx.log"]
    with running(command, {}, directory / "nginx.log"):
        wait_ready(port, "/", directory / "nginx.log")
        yield port


_NGINX = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log nginx.log warn;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000000;
    server {
        listen 127.0.0.1:%d backlog=1024;
        default_type %s;
        location / { return 200 '%s'; }
    }
}
"""


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], log_path: Path, stop_seconds: int = STOP_SECONDS
) -> Iterator[RoleProcess]:
    """A process that is told to stop at the end, and ended where it does not; it never outlives us."""
    process = RoleProcess(command, environment, log_path)
    process.start()
    try:
        yield process
    finally:
        process.ask_to_stop()
        process.finish_stop(time.monotonic() + stop_seconds)


def wait_ready(port: int, target: str, log_path: Path) -> None:
    """Wait for the first success. Raises ServerFailed with the end of the log."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if get(port, target).status == 200:  # noqa: PLR2004 - OK
                return
        except (OSError, HTTPException):  # not there yet
            pass
        time.sleep(POLL_SECONDS)
    raise ServerFailed(f"{log_path.stem} did not answer within {READY_SECONDS} seconds:\n{tail(log_path)}")


def free_port() -> int:
    """A port that nobody listens on, as of now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
