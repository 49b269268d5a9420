"""What may be read in two ways ends at the proxy: core sees a request whose end everybody finds in the same place."""

import re
import socket
import threading
from pathlib import Path

import msgspec

from app.wire.codes import Code
from tests.deploy.proxy import Upstreams, running_proxy
from tests.edge.framing_cases import REFUSED
from tests.edge.h11_reader import read_by_h11
from tests.ports import free_port

ANSWER_SECONDS = 10
QUIET_SECONDS = 0.3
"""After which the proxy is taken to wait for more."""
ENDS_AT_THE_PROXY = re.compile(
    r"CL\.TE|TE\.CL"
    r"|CL (twice|with a|in hex|as a list|before|empty|blank|beyond|of 63)"
    r"|TE (?!behind a bare LF|before a bare CR|in a trailer)"
)
WHOLE_ANSWER = re.compile(rb"HTTP/1\.1 (?:200 .*\r\n\r\n|4.*\r\n\r\n\{.*\})", re.DOTALL)
PIECE_BYTES = 65_536


class RecordingCore:
    """Listens where core would, keeps the bytes that come, and answers nothing but 200."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._seen: list[bytes] = []
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._threads.append(threading.Thread(target=self._answer, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while piece := self._received(connection):
                self._seen.append(piece)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def _received(self, connection: socket.socket) -> bytes:
        try:
            return connection.recv(PIECE_BYTES)
        except ConnectionResetError:  # the proxy's client has gone
            return b""

    def close(self) -> list[bytes]:
        """Listen no more; all that came, once nobody is connected."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(ANSWER_SECONDS)
        self._listener.close()
        return self._seen


def exchange(port: int, sent: bytes) -> bytes:
    """Send, and read one whole answer; where none comes, say that this was all, and read to the end."""
    with socket.create_connection(("127.0.0.1", port), QUIET_SECONDS) as client:
        client.sendall(sent)
        received = b""
        while not WHOLE_ANSWER.match(received) and (piece := next_piece(client)):
            received += piece
        return received


def next_piece(client: socket.socket) -> bytes:
    """What comes next; nothing at the end."""
    try:
        return client.recv(PIECE_BYTES)
    except ConnectionResetError:  # the proxy does not read on after an answer that is its last
        return b""
    except TimeoutError:
        if client.gettimeout() != QUIET_SECONDS:  # it was told that this is all
            raise
        client.shutdown(socket.SHUT_WR)
        client.settimeout(ANSWER_SECONDS)
        return next_piece(client)


def test_what_reaches_core(tmp_path: Path) -> None:
    """Nothing, after a problem document; or the request written anew, so that it is one to every reader."""
    core = RecordingCore()
    received: dict[str, bytes] = {}
    with running_proxy(tmp_path, Upstreams(core.port, free_port())) as port:
        for number, case in enumerate(REFUSED):
            path = b"/core/%d" % number
            sent = case.sent.replace(b"/v1/usage", path).replace(b"/livez", path)
            received[case.name] = exchange(port, sent)
    reached = core.close()
    for number, case in enumerate(REFUSED):
        seen = [piece for piece in reached if b" /core/%d " % number in piece]
        assert all(len(read_by_h11(piece.replace(b"\x0b", b" "))) == 1 for piece in seen), (case, seen)  # no line end
        assert b"text/html" not in received[case.name]
        if ENDS_AT_THE_PROXY.match(case.name):
            assert seen == []
            document = msgspec.json.decode(received[case.name].partition(b"\r\n\r\n")[2])
            assert document["code"] in {Code.MALFORMED_REQUEST, Code.BODY_TOO_LARGE}
    assert len(reached) > 0, "some can be written anew"


def test_http_1_0_without_a_host(tmp_path: Path) -> None:
    """It is passed on as HTTP/1.1, which needs one."""
    core = RecordingCore()
    with running_proxy(tmp_path, Upstreams(core.port, free_port())) as port:
        answer = exchange(port, b"GET /core HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert core.close() == [b"GET /core HTTP/1.1\r\nHost: quotastack\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"]
