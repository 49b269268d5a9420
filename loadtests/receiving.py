"""A receiver of webhooks in a process of its own: told how to behave, and asked what came."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec

from loadtests.receiver import COUNTS, ENDPOINTS, RECEIVED, Counts, Endpoint, Received
from loadtests.servers import free_port, running, wait_ready

REQUEST_SECONDS = 30


class RunningReceiver:
    """The process, seen from here. Its calls block, for milliseconds."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, path: str) -> str:
        """The address of an endpoint."""
        return f"http://127.0.0.1:{self.port}{path}"

    def tell(self, endpoints: Mapping[str, Endpoint]) -> None:
        """How endpoints behave from now on, by path; others stay as they are."""
        self._ask(ENDPOINTS, msgspec.json.encode(endpoints))

    def received(self, *, since: int = 0) -> list[Received]:
        """All that came, or what came after so many."""
        return msgspec.json.decode(self._ask(RECEIVED, str(since).encode()), type=list[Received])

    def counts(self) -> Counts:
        """How much came."""
        return msgspec.json.decode(self._ask(COUNTS, b""), type=Counts)

    def _ask(self, path: str, body: bytes) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)
        try:
            connection.request("POST", path, body)
            return connection.getresponse().read()
        finally:
            connection.close()


@contextmanager
def running_receiver(directory: Path, port: int | None = None) -> Iterator[RunningReceiver]:
    """A receiver on a free port, where none is given; gone at the end."""
    port = port or free_port()
    environment: dict[str, Any] = {"PATH": os.environ.get("PATH", os.defpath)}
    log_path = directory / "receiver.log"
    with running([sys.executable, "-m", "loadtests.receiver", str(port)], environment, log_path):
        wait_ready(port, COUNTS, log_path)
        yield RunningReceiver(port)
