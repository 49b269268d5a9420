"""Requests from bytes: llhttp parses and calls back; everything about a request is bounded before it is there.

What llhttp lets through and HTTP does not is looked for here, where a request is unlike the one before it.
"""

import re
from typing import NoReturn, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from app.wire.headers import ONCE
from edge import http_faults
from edge.exchange import Exchange, Line
from edge.http_faults import MAX_BLANK_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, MAX_LENGTH_DIGITS
from edge.refusals import Refusal

SLICE_BYTES = 16 * 1024
"""What is parsed at once: bounds are looked at in between."""

_HEADER_LINE_BYTES = 4  # colon, space, line end
_CHUNK_OVERHEAD = 2  # a chunked body may be this many times its own size on the wire
_HOP_BY_HOP = (b"connection", b"upgrade")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?[ \t]*")
_NO_HOST = b"\r\n"  # what no header can have as its value


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
        self._without_upgrade = b""
        """The head of a request that offered an upgrade, as it is without."""
        self._refusal: Refusal | None = None
        self._target = b""
        self._host = _NO_HOST
        """The Host that was found good last."""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_bytes = self._repeats = self._body_bytes = self._wire_bytes = 0
        self._max_body_bytes = self._max_wire_bytes = 0

    def feed(self, data: bytes) -> None:
        """Read on; complete requests go to the owner. Raises Refusal where nothing more can be read."""
        self._wire_bytes += len(data)
        while True:
            try:
                self._parser.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                data = self._pass_over_upgrade(data[upgrade.args[0] :])
            except HttpParserError as error:
                raise self._refusal or http_faults.refusal_of(error) from None
        if self._wire_bytes:  # something is not complete
            self._look_at_bounds()

    def _look_at_bounds(self) -> None:
        if not self.is_within:
            if self._wire_bytes > MAX_BLANK_BYTES:
                raise http_faults.blank_lines()
        elif self._head_bytes > MAX_HEAD_BYTES:
            raise http_faults.head_too_large()
        elif self._wire_bytes > self._max_wire_bytes:
            raise (
                http_faults.head_too_large() if self.head is None else http_faults.body_too_large(self._max_body_bytes)
            )

    def _stop(self, refusal: Refusal) -> NoReturn:
        """Out of a callback; the parser then says only that a callback failed."""
        self._refusal = refusal
        raise refusal

    def close(self) -> None:
        """Let go of the parser and the owner, which refer back to this reader: nothing waits for the collector."""
        del self._parser, self._owner
        self._refusal = self.head = None

    def _pass_over_upgrade(self, rest: bytes) -> bytes:
        """A client may offer another protocol (Java's does, HTTP/2): go on in this one, as RFC 9110 allows."""
        head, self._without_upgrade = self._without_upgrade, b""
        self._parser = HttpRequestParser(self)
        return head + rest

    # ---- what the parser says

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._owner.may_begin():
            self._stop(http_faults.closing())
        self.is_within = True
        self._target = b""
        self._headers = {}
        self._head_bytes = self._repeats = self._body_bytes = self._wire_bytes = 0
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
            value = self._join(name, value)
        self._headers[name] = value

    def _join(self, name: bytes, value: bytes) -> bytes:
        self._repeats += 1
        if name in ONCE:
            self._stop(http_faults.repeated(name))
        if self._repeats > MAX_HEADERS:
            self._stop(http_faults.too_many_headers())
        return b"%b, %b" % (self._headers[name], value)

    def on_headers_complete(self) -> None:
        """The head is there: look at everything that can be refused before the body comes."""
        parser, headers = self._parser, self._headers
        self.head = exchange = Exchange(self._owner, parser.get_method(), self._target, headers)
        exchange.keep_alive = parser.should_keep_alive()
        self._headers = {}  # trailers come to nothing
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop(http_faults.head_too_large())
        if len(headers) + self._repeats > MAX_HEADERS:
            self._stop(http_faults.too_many_headers())
        # HTTP/1.1 keeps a connection unless asked not to, so only what does neither can be of another version.
        if headers.get(b"host") != self._host or not exchange.keep_alive or b"connection" in headers:
            self._look_at_version_and_host(exchange)
        if b"upgrade" in headers and parser.should_upgrade():
            self._set_upgrade_aside(exchange)
            return
        if exchange.method == b"CONNECT":
            self._stop(http_faults.no_proxy())
        if b"content-length" in headers or b"transfer-encoding" in headers:
            self._expect_body(exchange)

    def _look_at_version_and_host(self, exchange: Exchange) -> None:
        version = self._parser.get_http_version()
        exchange.is_http_1_0 = version == "1.0"
        if version not in {"1.0", "1.1"}:
            self._stop(http_faults.wrong_version(version))
        host = exchange.headers.get(b"host")
        if host is None:
            if not exchange.is_http_1_0:
                self._stop(http_faults.no_host())
        elif host != self._host:
            if _HOST.fullmatch(host) is None:
                self._stop(http_faults.bad_host())
            self._host = host

    def _set_upgrade_aside(self, exchange: Exchange) -> None:
        self.head = None
        lines = [b"%b: %b\r\n" % item for item in exchange.headers.items() if item[0] not in _HOP_BY_HOP]
        lines.append(b"Connection: %b\r\n" % (b"keep-alive" if exchange.keep_alive else b"close"))
        version = b"1.0" if exchange.is_http_1_0 else b"1.1"
        request_line = b"%b %b HTTP/%b\r\n" % (exchange.method, self._target, version)
        self._without_upgrade = b"%b%b\r\n" % (request_line, b"".join(lines))

    def _expect_body(self, exchange: Exchange) -> None:
        headers = exchange.headers
        self._max_body_bytes = self._owner.body_limit(exchange.path)
        self._max_wire_bytes = MAX_HEAD_BYTES + SLICE_BYTES + _CHUNK_OVERHEAD * self._max_body_bytes
        length = headers.get(b"content-length")
        if length is None:
            self._look_at_coding(exchange, headers[b"transfer-encoding"].strip())
        elif len(length) > MAX_LENGTH_DIGITS:
            self._stop(http_faults.long_length())
        elif int(length) > self._max_body_bytes:
            self._stop(http_faults.body_too_large(self._max_body_bytes))
        if b"expect" in headers and headers[b"expect"].strip().lower() == b"100-continue" and not exchange.is_http_1_0:
            self._owner.expected()

    def _look_at_coding(self, exchange: Exchange, coding: bytes) -> None:
        if exchange.is_http_1_0:
            self._stop(http_faults.coding_of_http_1_0())
        if coding.lower() != b"chunked":
            self._stop(http_faults.wrong_coding(coding))

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self._stop(http_faults.body_too_large(self._max_body_bytes))
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
        self._wire_bytes = 0
        self._owner.completed(exchange)
