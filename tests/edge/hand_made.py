"""A connection without a network: the worker's side and the client's end of it, both in the test's hand."""

from typing import TYPE_CHECKING, Any

from edge.server import Connection

if TYPE_CHECKING:
    from edge.exchange import Exchange


class Transport:
    """Notes what a connection does."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.written = b""
        self.unsent = 0

    def write(self, data: bytes) -> None:
        """Keep what would be sent."""
        self.written += data

    def get_write_buffer_size(self) -> int:
        """What the client has not taken yet."""
        return self.unsent

    def __getattr__(self, name: str) -> Any:
        return lambda: self.did.append(name)


class Host:
    """A worker whose clock stands still, and who leaves the answers to the test."""

    def __init__(self) -> None:
        self.is_draining = False
        self.now = 1000.0
        self.exchanges: list[Exchange] = []
        self.dispatch = self.exchanges.append

    def joined(self, connection: Connection) -> bool:
        """There is always room."""
        del connection
        return True

    def left(self, connection: Connection) -> None:
        """Nothing is kept of it."""

    def body_limit(self, path: bytes) -> int:
        """Enough for these tests."""
        del path
        return 1000

    def new_request_id(self) -> bytes:
        """Always the same."""
        return b"req_1"

    def observe(self, exchange: "Exchange", status: int) -> None:
        """Nobody counts."""


def connect(host: Host, transport: Transport) -> Connection:
    """A client that has just come."""
    connection = Connection(host)
    connection.connection_made(transport)  # pyright: ignore[reportArgumentType] - it has what is called
    return connection
