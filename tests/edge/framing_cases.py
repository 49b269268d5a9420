"""Requests that one reader might end elsewhere than another, and such as HTTP allows.

What RFC 9110 and 9112 and the practice of request smuggling give, as two tables.
"""

from typing import NamedTuple

from edge.http_faults import MAX_HEAD_BYTES, MAX_HEADERS

LIVE = b"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
EMPTY = b"0\r\n\r\n"
OFFER = (b"Connection: Upgrade", b"Upgrade: h2c")
MALFORMED, TOO_LARGE, METHOD = (400, "malformed_request"), (431, "headers_too_large"), (405, "method_not_allowed")
BODY = (413, "body_too_large")


def head(line: bytes, *lines: bytes) -> bytes:
    """A head of these lines and a Host."""
    return b"\r\n".join((line, b"Host: edge", *lines, b"", b""))


def get(*lines: bytes) -> bytes:
    """A GET of what needs no key."""
    return head(b"GET /livez HTTP/1.1", *lines)


def post(*lines: bytes, body: bytes = b"{}") -> bytes:
    """A POST."""
    return head(b"POST /v1/usage HTTP/1.1", *lines) + body


def coded(value: bytes, *lines: bytes, body: bytes = EMPTY) -> bytes:
    """A POST with this Transfer-Encoding."""
    return post(b"Transfer-Encoding:" + value, *lines, body=body)


def long(value: bytes) -> bytes:
    """A POST with this Content-Length."""
    return post(b"Content-Length:" + value)


def chunks(body: bytes) -> bytes:
    """A POST with these chunks."""
    return post(CHUNKED, body=body)


def line(target: bytes, method: bytes = b"GET ", version: bytes = b" HTTP/1.1") -> bytes:
    """A request with this request line."""
    return head(method + target + version)


def hosted(*lines: bytes, version: bytes = b"1.1") -> bytes:
    """A request with these lines for a Host."""
    return b"\r\n".join((b"GET /livez HTTP/" + version, *lines, b"", b""))


class Case(NamedTuple):
    """What is sent and how it is refused; every one of these ends the connection."""

    name: str
    sent: bytes
    refusal: tuple[int, str] = MALFORMED


REFUSED = (
    # which of two lengths holds
    Case("CL.TE", post(b"Content-Length: 5", CHUNKED, body=EMPTY)),
    Case("TE.CL", post(CHUNKED, b"Content-Length: 5", body=EMPTY)),
    Case("CL.TE with an unknown coding", post(b"Content-Length: 2", b"Transfer-Encoding: x")),
    Case("CL.TE with an empty coding", post(b"Content-Length: 2", b"Transfer-Encoding:")),
    Case("CL.TE in an upgrade", post(*OFFER, b"Content-Length: 5", CHUNKED, body=EMPTY)),
    Case("TE.CL in an upgrade", post(CHUNKED, *OFFER, b"Content-Length: 5", body=EMPTY)),
    Case("CL in a trailer", chunks(b"0\r\nContent-Length: 5\r\n\r\n")),
    Case("TE in a trailer", chunks(b"0\r\nTransfer-Encoding: chunked\r\n\r\n")),
    # Transfer-Encoding
    Case("TE twice", post(CHUNKED, CHUNKED, body=EMPTY)),
    Case("TE twice, identity first", post(b"Transfer-Encoding: identity", CHUNKED, body=EMPTY)),
    Case("TE twice, identity last", post(CHUNKED, b"Transfer-Encoding: identity", body=EMPTY)),
    Case("TE twice, gzip first", post(b"Transfer-Encoding: gzip", CHUNKED, body=EMPTY)),
    Case("TE does not end in chunked", coded(b" chunked, gzip")),
    Case("TE gzip before chunked", coded(b" gzip, chunked")),
    Case("TE identity before chunked", coded(b" identity, chunked")),
    Case("TE chunked twice in a line", coded(b" chunked, chunked")),
    Case("TE with an empty member", coded(b" ,chunked")),
    Case("TE with an empty last member", coded(b" chunked,")),
    Case("TE with a parameter", coded(b" chunked;a=b")),
    Case("TE in quotes", coded(b' "chunked"')),
    Case("TE empty", coded(b"")),
    Case("TE xchunked", coded(b" xchunked")),
    Case("TE chunkedx", coded(b" chunkedx")),
    Case("TE identity", coded(b" identity")),
    Case("TE behind a vertical tab", coded(b" \x0bchunked")),
    Case("TE behind a no-break space", coded(b" \xa0chunked")),
    Case("TE before a NUL", coded(b" chunked\0")),
    Case("TE before a tab", coded(b" chunked\t")),
    Case("TE before a bare CR", coded(b" chunked\r")),
    Case("TE folded", coded(b"\r\n chunked")),
    Case("TE folded with a tab", coded(b"\r\n\tchunked")),
    Case("TE with a space before the colon", post(b"Transfer-Encoding : chunked", body=EMPTY)),
    Case("TE with a space before the name", post(b" Transfer-Encoding: chunked", body=EMPTY)),
    Case("TE behind a bare LF", post(b"A: b\nTransfer-Encoding: chunked", body=EMPTY)),
    Case("TE in HTTP/1.0", head(b"POST /v1/usage HTTP/1.0", CHUNKED) + EMPTY),
    Case("TE in HTTP/1.0, kept", head(b"POST /v1/usage HTTP/1.0", b"Connection: keep-alive", CHUNKED) + EMPTY),
    # Content-Length
    Case("CL twice", post(b"Content-Length: 2", b"Content-Length: 3")),
    Case("CL twice, equal", post(b"Content-Length: 2", b"Content-Length: 2")),
    Case("CL with a plus", long(b" +2")),
    Case("CL with a minus", long(b" -2")),
    Case("CL in hexadecimal", long(b" 0x2")),
    Case("CL as a list", long(b" 2, 2")),
    Case("CL before a comma", long(b" 2,")),
    Case("CL with a space inside", long(b" 2 2")),
    Case("CL with an underscore", long(b" 1_0")),
    Case("CL with a point", long(b" 2.0")),
    Case("CL with an exponent", long(b" 2e0")),
    Case("CL in digits that are not ASCII", long(b" \xd9\xa2")),
    Case("CL behind a vertical tab", long(b" \x0b2")),
    Case("CL before a NUL", long(b" 2\0")),
    Case("CL empty", long(b"")),
    Case("CL blank", long(b"  ")),
    Case("CL folded", long(b"\r\n 2")),
    Case("CL beyond 64 bits", long(b" 18446744073709551618")),
    Case("CL of 63 bits", long(b" 9223372036854775807"), BODY),
    Case("CL with zeros without end", long(b" " + b"0" * 5000 + b"2")),
    # chunks
    Case("chunk size beyond 64 bits", chunks(b"10000000000000002\r\n{}\r\n" + EMPTY)),
    Case("chunk size with 0x", chunks(b"0x2\r\n{}\r\n" + EMPTY)),
    Case("chunk size with a plus", chunks(b"+2\r\n{}\r\n" + EMPTY)),
    Case("chunk size with a minus", chunks(b"-2\r\n{}\r\n" + EMPTY)),
    Case("chunk size before a space", chunks(b"2 \r\n{}\r\n" + EMPTY)),
    Case("chunk size behind a space", chunks(b" 2\r\n{}\r\n" + EMPTY)),
    Case("chunk without a size", chunks(b"\r\n{}\r\n" + EMPTY)),
    Case("chunk size before a bare LF", chunks(b"2\n{}\r\n" + EMPTY)),
    Case("chunk size before a bare CR", chunks(b"2\r{}\r\n" + EMPTY)),
    Case("chunk data before a bare LF", chunks(b"2\r\n{}\n" + EMPTY)),
    Case("chunk data longer than said", chunks(b"2\r\n{}xx" + EMPTY)),
    Case("chunk extension with a bare LF", chunks(b"2;a\n{}\r\n" + EMPTY)),
    Case("chunk extension with a bare CR", chunks(b"2;a\rb\r\n{}\r\n" + EMPTY)),
    Case("chunk extension with a line in it", chunks(b"2;a=b\nA: b\r\n{}\r\n" + EMPTY)),
    Case("last chunk before a bare LF", chunks(b"2\r\n{}\r\n0\n\n")),
    Case("trailer that is none", chunks(b"0\r\nA b\r\n\r\n")),
    Case("trailer folded", chunks(b"0\r\nA: b\r\n c\r\n\r\n")),
    # line ends
    Case("bare LF throughout", b"GET /livez HTTP/1.1\nHost: edge\n\n"),
    Case("bare LF after the request line", b"GET /livez HTTP/1.1\nHost: edge\r\n\r\n"),
    Case("bare LF after a header", b"GET /livez HTTP/1.1\r\nHost: edge\nA: b\r\n\r\n"),
    Case("bare LF at the end", b"GET /livez HTTP/1.1\r\nHost: edge\r\n\n"),
    Case("bare CR after the request line", b"GET /livez HTTP/1.1\rHost: edge\r\n\r\n"),
    Case("bare CR in a value", get(b"A: b\rc")),
    Case("bare CR at the end", b"GET /livez HTTP/1.1\r\nHost: edge\r\n\rX"),
    Case("CR CR LF", b"GET /livez HTTP/1.1\r\r\nHost: edge\r\n\r\n"),
    Case("folding", get(b"A: b\r\n c")),
    Case("folding with a tab", get(b"A: b\r\n\tc")),
    Case("folding of the first header", b"GET /livez HTTP/1.1\r\n A: b\r\nHost: edge\r\n\r\n"),
    Case("empty lines without end", b"\r\n" * 20_000),
    # the request line
    Case("space before the method", b" " + LIVE),
    Case("tab before the method", b"\t" + LIVE),
    Case("NUL before the method", b"\0" + LIVE),
    Case("tab after the method", line(b"\t/livez", b"GET")),
    Case("space after the version", line(b"/livez", version=b" HTTP/1.1 ")),
    Case("space in the target", line(b"/li vez")),
    Case("tab in the target", line(b"/li\tvez")),
    Case("NUL in the target", line(b"/li\0vez")),
    Case("control in the target", line(b"/li\x01vez")),
    Case("DEL in the target", line(b"/li\x7fvez")),
    Case("8 bits in the target", line(b"/li\xffvez")),
    Case("no target", line(b"")),
    Case("target without a slash", line(b"livez")),
    Case("target as an authority", line(b"edge:80")),
    Case("unknown method", line(b"/livez", b"HELLO ")),
    Case("method in small letters", line(b"/livez", b"get ")),
    Case("two methods", line(b"/livez", b"GETPOST ")),
    Case("CONNECT", line(b"edge:443", b"CONNECT "), METHOD),
    Case("CONNECT with an upgrade", head(b"CONNECT edge:443 HTTP/1.1", *OFFER), METHOD),
    Case("no version", b"GET /livez\r\n\r\n"),
    Case("HTTP/0.9", line(b"/livez", version=b" HTTP/0.9")),
    Case("HTTP/1.2", line(b"/livez", version=b" HTTP/1.2")),
    Case("HTTP/1.11", line(b"/livez", version=b" HTTP/1.11")),
    Case("HTTP/2.0", line(b"/livez", version=b" HTTP/2.0")),
    Case("HTTP/2.0, kept", head(b"GET /livez HTTP/2.0", b"Connection: keep-alive")),
    Case("http/1.1", line(b"/livez", version=b" http/1.1")),
    Case("ICE/1.0", line(b"/livez", version=b" ICE/1.0")),
    Case("HTTP/2 as such", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    # Host
    Case("no Host", hosted()),
    Case("no Host, but a name like it", hosted(b"Hosts: edge")),
    Case("Host twice", get(b"Host: other")),
    Case("Host twice, equal", get(b"Host: edge")),
    Case("Host twice in HTTP/1.0", hosted(b"Host: a", b"Host: b", version=b"1.0")),
    Case("Host empty", hosted(b"Host:")),
    Case("Host blank", hosted(b"Host: \t ")),
    Case("Host as a list", hosted(b"Host: a, b")),
    Case("Host with a space", hosted(b"Host: a b")),
    Case("Host with a path", hosted(b"Host: a/b")),
    Case("Host with a user", hosted(b"Host: a@b")),
    Case("Host with a query", hosted(b"Host: a?b")),
    Case("Host with a word for a port", hosted(b"Host: a:b")),
    Case("Host with 8 bits", hosted(b"Host: \xff")),
    Case("Host with a control", hosted(b"Host: a\x01")),
    Case("Host folded", hosted(b"Host:\r\n edge")),
    Case("Host invalid in HTTP/1.0", hosted(b"Host: a b", version=b"1.0")),
    Case("Host twice in an upgrade", get(*OFFER, b"Host: other")),
    # headers
    Case("header without a colon", get(b"Abc")),
    Case("header without a name", get(b": b")),
    Case("space before the colon", get(b"A : b")),
    Case("tab before the colon", get(b"A\t: b")),
    Case("NUL in a name", get(b"A\0: b")),
    Case("control in a name", get(b"A\x01: b")),
    Case("8 bits in a name", get(b"A\xe9: b")),
    Case("parenthesis in a name", get(b"A(: b")),
    Case("NUL in a value", get(b"A: b\0")),
    Case("control in a value", get(b"A: b\x01")),
    Case("DEL in a value", get(b"A: b\x7f")),
    Case("vertical tab before a value", get(b"A:\x0bb")),
    Case("Authorization twice", get(b"Authorization: Bearer a", b"Authorization: Bearer b")),
    Case("X-API-Key twice", get(b"X-API-Key: a", b"x-api-key: a")),
    Case("Idempotency-Key twice", post(b"Idempotency-Key: a", b"Idempotency-Key: a", b"Content-Length: 2")),
    Case("Content-Type twice", post(b"Content-Type: a/b", b"Content-Type: a/b", b"Content-Length: 2")),
    Case("headers one too many", get(*(b"A%d: b" % number for number in range(MAX_HEADERS))), TOO_LARGE),
    Case("headers one too many, of one name", get(*[b"a:"] * MAX_HEADERS), TOO_LARGE),
    Case("headers without end", get(*[b"a:"] * 3000), TOO_LARGE),
    Case("trailers without end", chunks(b"0\r\n" + b"a:\r\n" * 3000), TOO_LARGE),
    Case("trailers of many names", chunks(b"0\r\n" + b"".join(b"%x:\r\n" % n for n in range(8000))), TOO_LARGE),
    Case("one name without end", get(b"a" * MAX_HEAD_BYTES + b": b"), TOO_LARGE),
)

ANSWERED = (
    ("an empty line before", b"\r\n" + LIVE, 200),
    ("a space more around the target", line(b" /livez "), 200),
    ("RTSP, which the parser does not tell", head(b"GET /livez RTSP/1.0", b"Connection: keep-alive"), 200),
    ("TRACE, which echoes nothing", line(b"/livez", b"TRACE "), 405),
    ("OPTIONS of everything", line(b"*", b"OPTIONS "), 404),
    ("a target with its host", line(b"http://edge/livez"), 404),
    ("a target with another host", line(b"http://other/livez"), 404),
    ("a target with two slashes", line(b"//livez"), 404),
    ("a target with a fragment", line(b"/livez#a"), 404),
    ("a Host with a port", hosted(b"Host: edge:8001"), 200),
    ("a Host that is an IPv6 address", hosted(b"Host: [::1]:8001"), 200),
    ("a Host before a blank", hosted(b"Host: edge "), 200),
    ("as many headers as there may be", get(*(b"A%d: b" % number for number in range(MAX_HEADERS - 1))), 200),
    ("a repeated header that is a list", get(b"Accept: a/b", b"Accept: c/d"), 200),
    ("8 bits in a value", get(b"A: \xff"), 200),
    ("a name like Content-Length", get(b"Content_Length: 5"), 200),
    ("a GET with a body", get(b"Content-Length: 2") + b"{}", 200),
    ("a GET with chunks", get(CHUNKED) + b"2\r\n{}\r\n" + EMPTY, 200),
    ("CL with zeros", head(b"GET /livez HTTP/1.1", b"Content-Length: 002") + b"{}", 200),
    ("CL between blanks", get(b"Content-Length: \t2 ") + b"{}", 200),
    ("TE in capitals", get(b"Transfer-Encoding: CHUNKED ") + EMPTY, 200),
    ("chunk extensions", get(CHUNKED) + b'2;a=b;c="d"\r\n{}\r\n' + EMPTY, 200),
    ("trailers", get(CHUNKED) + b"0\r\nHost: other\r\nAuthorization: x\r\n\r\n", 200),
    ("an offer of WebSocket", get(b"Connection: Upgrade", b"Upgrade: websocket"), 200),
    ("an offer of HTTP/2, chunked", head(b"GET /livez HTTP/1.1", *OFFER, CHUNKED) + b"2\r\n{}\r\n" + EMPTY, 200),
    ("many offers of HTTP/2", get(*OFFER) * 300, 200),
)
