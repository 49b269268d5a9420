"""Embedded Valkey: every acknowledged write is on the disk, unless it is told otherwise; nothing is ever evicted."""

import socket
from pathlib import Path
from signal import SIGTERM
from typing import ClassVar, Final

from app.embedded.binaries import VALKEY, find_binary
from app.embedded.server import EmbeddedServer
from app.wire.agreement import Durability

_ANSWER_SECONDS: Final = 1
_PONG: Final = b"+PONG\r\n"  # while it still reads its log it answers -LOADING
_PROCESS_ID: Final = b"process_id:"


class EmbeddedValkey(EmbeddedServer):
    """A Valkey (or Redis) server with an append-only file; `durability` says how often that is synced."""

    title: ClassVar = "Valkey"
    socket_name: ClassVar = "valkey.sock"
    end_signal: ClassVar = SIGTERM
    stop_seconds: ClassVar = 10
    durability: Durability = "always"

    @property
    def url(self) -> str:
        """The address: `unix:///path/of/the/socket`."""
        return f"unix://{self.socket_directory / self.socket_name}"

    def prepare(self) -> None:
        """Make the directory if there is none."""
        self.directory.mkdir(mode=0o700, exist_ok=True)

    def command(self) -> list[str]:
        """Answer the server's command line, which is its whole configuration."""
        settings = {
            "port": "0",
            "unixsocket": str(self.socket_directory / self.socket_name),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": self.durability,
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [str(self.binary.path), *(part for name, value in settings.items() for part in (f"--{name}", value))]

    def ready_pid(self) -> int | None:
        """Ask the server itself whether it answers, and which process it is."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            try:
                connection.connect(str(self.socket_directory / self.socket_name))
                connection.sendall(b"PING\r\nINFO server\r\n")
                with connection.makefile("rb") as answers:
                    if answers.readline() != _PONG:
                        return None
                    found = (line for line in answers if line.startswith(_PROCESS_ID))
                    return int(next(found).removeprefix(_PROCESS_ID))
            except (OSError, StopIteration):  # not there yet, or just gone
                return None


def valkey_in(data_dir: Path, durability: Durability = "always") -> EmbeddedValkey:
    """Answer the server for the data below `data_dir`, not started. Raises EmbeddedError when none can be had."""
    server = EmbeddedValkey(data_dir, find_binary(VALKEY), identity=None)
    server.durability = durability
    return server


def start_valkey(data_dir: Path, durability: Durability = "always") -> EmbeddedValkey:
    """Start Valkey on the data below `data_dir`, or join the server that runs there.

    Returns when it answers; call from the main thread. It ends with `stop()` or with this process. Killed, it is
    started again by a second call, with all that it had acknowledged. Raises EmbeddedError.
    """
    return valkey_in(data_dir, durability).start()
