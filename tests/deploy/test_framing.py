"""What may be read in two ways ends at the proxy: core sees a request whose end everybody finds in the same place."""

import re
import socket
import threading
from pathlib import Path

import msgspec

from app.wire.codes import Code
from tests.deploy.proxy import Upstreams, free_port, running_proxy
from tests.edge.framing_cases import REFUSED
from tests.edge.h11_reader import read_by_h11

ANSWER_SECONDS = 10
ENDS_AT_THE_PROXY = re.compile(
    r"CL\.TE|TE\.CL"
    r"|CL (twice|with a|in hex|as a list|before|empty|blank|beyond|of 63)"
    r"|TE (?!behind a bare LF|before a bare CR|in a trailer)"
)
LAST_ANSWER = re.compile(rb".*\r\nConnection: close\r\n\r\n\{.*\}", re.DOTALL)
PIECE_BYTES = 65_536


class RecordingCore:
    """Listens where core would, keeps the bytes that come, and answers nothing but 200."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._seen: list[bytes] = []
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
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
    """Send, say that this was all, and read to the end, or to an answer that says it is the last."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while not LAST_ANSWER.match(received) and (piece := client.recv(PIECE_BYTES)):
                received += piece
        except ConnectionResetError:  # it does not read on after an answer that is its last
            return received
        return received


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
