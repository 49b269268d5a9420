"""Requests from bytes: llhttp parses and calls back; everything about a request is bounded before it is there."""

from typing import NoReturn, Protocol

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from app.wire.codes import Code
from edge.exchange import Exchange, Line, as_refusal
from edge.refusals import Refusal

MAX_HEAD_BYTES = 16 * 1024
"""Request line and headers, and trailers."""
SLICE_BYTES = 16 * 1024
"""What is parsed at once: bounds are looked at in between."""

_HEADER_LINE_BYTES = 4  # colon, space, line end
_CHUNK_OVERHEAD = 2  # a chunked body may be this many times its own size on the wire
_HOP_BY_HOP = (b"connection", b"upgrade")


class Owner(Line, Protocol):
    """The connection, as its reader sees it."""

    def may_begin(self) -> bool:
        """The first byte of a request is there: whether it is read."""
        ...

    def body_limit(self, path: bytes) -> int:
        """The most bytes that a body for this path may have."""
        ...

    def expected(self) -> None:
        """The client waits for leave to send its body."""
        ...

    def completed(self, exchange: Exchange) -> None:
        """A whole request is there."""
        ...


class RequestReader:
    """Reads the requests of one connection, one after the other."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser = HttpRequestParser(self)
        self.is_within = False
        """A request has begun and is not complete."""
        self.head: Exchange | None = None
        """The request whose head is there and whose body is not."""
        self._upgrading: Exchange | None = None
        self._refusal: Refusal | None = None
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = self._wire_bytes = 0
        self._max_body_bytes = self._max_wire_bytes = 0

    def feed(self, data: bytes) -> None:
        """Read on; complete requests go to the owner. Raises Refusal where nothing more can be read."""
        self._wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except HttpParserError as error:
            raise self._refusal or _refusal_of(error) from None
        else:
            rest = None
        if rest is not None:
            self._feed_without_upgrade(rest)
        if self.is_within and self._wire_bytes > self._max_wire_bytes:
            raise _head_too_large() if self.head is None else _body_too_large(self._max_body_bytes)

    def _stop(self, refusal: Refusal) -> NoReturn:
        """Out of a callback; the parser then says only that a callback failed."""
        self._refusal = refusal
        raise refusal

    def close(self) -> None:
        """Let go of the parser, which refers back to this reader."""
        del self._parser

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """A client may offer another protocol (Java's does, HTTP/2): go on in this one, as RFC 9110 allows."""
        asked, self._upgrading = self._upgrading, None
        if asked is None:
            return
        lines = [b"%b: %b\r\n" % item for item in asked.headers.items() if item[0] not in _HOP_BY_HOP]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (asked.method, self._target, b"".join(lines))
        self._parser = HttpRequestParser(self)
        self.feed(head + rest)

    # ---- what the parser says

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._owner.may_begin():
            self._stop(Refusal(Code.MALFORMED_REQUEST, "The connection is being closed."))
        self.is_within = True
        self._target = b""
        self._headers = {}
        self._head_bytes = self._body_bytes = self._wire_bytes = 0
        self._max_wire_bytes = MAX_HEAD_BYTES

    def on_url(self, url: bytes) -> None:
        """The target, or a part of it."""
        self._target += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header. Lines of one name are one list (RFC 9110, 5.3)."""
        self._head_bytes += len(name) + len(value) + _HEADER_LINE_BYTES
        name = name.lower()
        if name in self._headers:
            value = b"%b, %b" % (self._headers[name], value)
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        """The head is there: look at everything that can be refused before the body comes."""
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop(_head_too_large())
        parser, headers = self._parser, self._headers
        exchange = Exchange(self._owner, parser.get_method(), self._target, headers)
        exchange.keep_alive = parser.should_keep_alive()
        self._headers = {}  # trailers come to nothing
        if b"host" not in headers or b"connection" in headers:
            self._look_at_version(exchange)
        if b"upgrade" in headers and parser.should_upgrade():
            self._upgrading = exchange
            return
        self.head = exchange
        if exchange.method == b"CONNECT":
            self._stop(Refusal(Code.METHOD_NOT_ALLOWED, "This is no proxy."))
        if b"content-length" in headers or b"transfer-encoding" in headers:
            self._expect_body(exchange)

    def _look_at_version(self, exchange: Exchange) -> None:
        version = self._parser.get_http_version()
        exchange.is_http_1_0 = version == "1.0"
        if version not in {"1.0", "1.1"}:
            self._stop(Refusal(Code.MALFORMED_REQUEST, f"HTTP/{version} is not spoken here; use HTTP/1.1."))
        if version == "1.1" and b"host" not in exchange.headers:
            self._stop(Refusal(Code.MALFORMED_REQUEST, "A request in HTTP/1.1 names its Host."))

    def _expect_body(self, exchange: Exchange) -> None:
        self._max_body_bytes = self._owner.body_limit(exchange.path)
        self._max_wire_bytes = MAX_HEAD_BYTES + SLICE_BYTES + _CHUNK_OVERHEAD * self._max_body_bytes
        if int(exchange.headers.get(b"content-length", b"0")) > self._max_body_bytes:
            self._stop(_body_too_large(self._max_body_bytes))
        if exchange.headers.get(b"expect", b"").lower() == b"100-continue" and not exchange.is_http_1_0:
            self._owner.expected()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self._stop(_body_too_large(self._max_body_bytes))
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        exchange, self.head = self.head, None
        if exchange is None:  # an upgrade; it is read again without
            return
        if self._body:
            exchange.body = b"".join(self._body)
            self._body = []
        self.is_within = False
        self._owner.completed(exchange)


def _refusal_of(error: HttpParserError) -> Refusal:
    """What stopped the parser where no callback meant to: a fault of ours in one, or input that is not HTTP."""
    if isinstance(error, HttpParserCallbackError):
        return as_refusal(error, b"-")
    return Refusal(Code.MALFORMED_REQUEST, f"{error}.")


def _head_too_large() -> Refusal:
    return Refusal(Code.HEADERS_TOO_LARGE, f"Request line and headers may have {MAX_HEAD_BYTES} bytes together.")


def _body_too_large(limit: int) -> Refusal:
    return Refusal(Code.BODY_TOO_LARGE, f"The body may have {limit} bytes here.")
