"""Clients that take too long, with the clock in the test's hand."""

import gc
import weakref

import pytest

from edge.server import IDLE_SECONDS, LINGER_SECONDS, REQUEST_SECONDS, Connection
from tests.edge.hand_made import Host, Transport, connect

LARGE = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n"
HALF = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{"


@pytest.fixture
def host() -> Host:
    """The worker."""
    return Host()


@pytest.fixture
def transport() -> Transport:
    """The client's end."""
    return Transport()


@pytest.fixture
def connection(host: Host, transport: Transport) -> Connection:
    """A client that has just come."""
    return connect(host, transport)


def after(host: Host, connection: Connection, seconds: float) -> None:
    """So much later the worker looks at its clients."""
    host.now += seconds
    connection.sweep()


def test_an_idle_client_is_let_go(host: Host, connection: Connection, transport: Transport) -> None:
    """After the idle time, not before, and not while it waits for an answer."""
    after(host, connection, IDLE_SECONDS - 1)
    connection.data_received(b"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n")
    after(host, connection, IDLE_SECONDS + 1)
    assert transport.did == []
    host.exchanges[0].respond(200, b"{}")
    after(host, connection, IDLE_SECONDS)
    assert transport.did == []
    after(host, connection, 1)
    assert transport.did == ["close"]


@pytest.mark.parametrize(
    "sent",
    [b"G", b"GET /livez HTTP/1.1\r\nHost: ", b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nContent-Length: 5\r\n\r\nabc"],
)
def test_a_request_that_does_not_end(host: Host, connection: Connection, transport: Transport, sent: bytes) -> None:
    """Byte by byte or not at all: after the time for one request it is refused, and the connection ended."""
    for byte in sent:
        connection.data_received(bytes((byte,)))
        after(host, connection, 0.01)
    after(host, connection, REQUEST_SECONDS - 1)
    assert transport.did == []
    after(host, connection, 2)
    assert transport.written.startswith(b"HTTP/1.1 400 ")
    assert transport.did == ["write_eof"]
    transport.unsent = 100
    after(host, connection, LINGER_SECONDS + 1)
    assert transport.did == ["write_eof"]
    transport.unsent = 0
    after(host, connection, 0)
    assert transport.did == ["write_eof", "abort"]


def test_a_client_that_does_not_take_its_answers(host: Host, connection: Connection, transport: Transport) -> None:
    """After a while it is let go, answers and all."""
    connection.pause_writing()
    after(host, connection, REQUEST_SECONDS - 1)
    assert transport.did == ["pause_reading"]
    after(host, connection, 2)
    assert transport.did == ["pause_reading", "abort"]


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET /livez HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\nA", LARGE, HALF])
def test_a_client_that_is_gone_leaves_nothing(sent: bytes) -> None:
    """Whatever it sent, its memory is free at once: the collector of garbage is run seldom."""
    transport = Transport()
    connection = connect(Host(), transport)
    connection.data_received(sent)
    connection.connection_lost(None)
    reference = weakref.ref(connection)
    gc.disable()
    try:
        del connection
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("is_idle", [True, False], ids=["idle", "half-closed"])
def test_an_end_that_cannot_be_told(host: Host, connection: Connection, transport: Transport, *, is_idle: bool) -> None:
    """A client that leaves its last answer unread, too short to hold anything up, is let go like others."""
    connection.data_received(b"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n")
    host.exchanges[0].respond(200, b"{}")
    transport.unsent = 100
    if is_idle:
        after(host, connection, IDLE_SECONDS + 1)
        assert transport.did == ["close"]
    else:
        assert not connection.eof_received(), "the transport closes by itself once everything is taken"
    transport.did.clear()
    after(host, connection, REQUEST_SECONDS)
    assert transport.did == []
    after(host, connection, 1)
    assert transport.did == ["abort"]


def test_a_client_that_is_half_closed_and_answered_late(
    host: Host, connection: Connection, transport: Transport
) -> None:
    """The answer is written, then the connection closed; where it is not taken, the client is let go."""
    connection.data_received(b"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n")
    assert connection.eof_received(), "the transport stays open for the answer"
    host.exchanges[0].respond(200, b"{}")
    assert transport.did == ["close"]
    transport.unsent = 100
    after(host, connection, REQUEST_SECONDS + 1)
    assert transport.did == ["close", "abort"]
