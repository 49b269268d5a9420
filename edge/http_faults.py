"""What is wrong with a request as HTTP, in words that tell its sender what to change; and the bounds of the framing.

The parser says what it expected ("Invalid header token"); a client's author has to know what was sent and what to send.
"""

from httptools import HttpParserCallbackError, HttpParserError

from app.wire.codes import Code
from app.wire.headers import said_twice
from edge.exchange import as_refusal
from edge.refusals import Refusal

MAX_HEAD_BYTES = 16 * 1024
"""Request line and headers, and trailers."""
MAX_HEADERS = 100
"""Lines of the head, and as many trailers."""
MAX_BLANK_BYTES = 64
"""Empty lines before a request."""
MAX_LENGTH_DIGITS = 19

_LINE_ENDS = "A line does not end in CR LF; end every line of the head and every chunk so, and send no other CR or LF."
_BOTH = (
    "Content-Length and Transfer-Encoding came together, so that nobody knows where the body ends; send one of them."
)
_LENGTH = "Content-Length is no plain decimal number; send the count of the body's bytes, in digits alone."
_CODING = "Transfer-Encoding is not 'chunked'; send that alone, or a Content-Length."
_TARGET = "The target has characters that HTTP does not allow there; send a path, percent-encoded, with no space in it."
_NAME = "A header's name is not a token followed by a colon; send 'Name: value', with no space before the colon."
_VALUE = "A header's value has a control character or goes on in the next line; send it in one line, in plain text."
_CHUNK = "A chunk does not begin with its size in hexadecimal digits, followed by CR LF; send it so."
_VERSION = "The request line does not end in HTTP/1.1; send 'METHOD /path HTTP/1.1'."
_METHOD = "The request does not begin with a method of HTTP; send 'METHOD /path HTTP/1.1', and TLS only where TLS ends."

_MEANINGS = {
    "Expected CRLF after version": "The request line does not end in CR LF after 'HTTP/1.1'; send it so.",
    "Expected LF after CR": _LINE_ENDS,
    "Expected LF after headers": _LINE_ENDS,
    "Expected LF after chunk size": _LINE_ENDS,
    "Expected LF after chunk data": "A chunk has other data than its size says; end it in CR LF after as many bytes.",
    "Missing expected CR after header value": _LINE_ENDS,
    "Missing expected LF after header value": _LINE_ENDS,
    "Missing expected CR after chunk size": _LINE_ENDS,
    "Missing expected CR after chunk data": _LINE_ENDS,
    "Missing expected CR after chunk extension name": _LINE_ENDS,
    "Missing expected CR after chunk extension value": _LINE_ENDS,
    "Transfer-Encoding can't be present with Content-Length": _BOTH,
    "Content-Length can't be present with Transfer-Encoding": _BOTH,
    "Duplicate Content-Length": "Content-Length came more than once; send it once.",
    "Content-Length overflow": _LENGTH,
    "Empty Content-Length": _LENGTH,
    "Invalid character in Content-Length": _LENGTH,
    "Empty Transfer-Encoding": _CODING,
    "Invalid `Transfer-Encoding` header value": _CODING,
    "Request has invalid `Transfer-Encoding`": _CODING,
    "Chunk size overflow": _CHUNK,
    "Invalid character in chunk size": _CHUNK,
    "Invalid character in chunk extensions": "A chunk has an extension that cannot be read; send chunks without any.",
    "Invalid char in url path": _TARGET,
    "Invalid char in url query": _TARGET,
    "Invalid char in url fragment start": _TARGET,
    "Invalid characters in url": _TARGET,
    "Unexpected char in url schema": _TARGET,
    "Unexpected char in url server": _TARGET,
    "Invalid header token": _NAME,
    "Invalid header field char": _NAME,
    "Unexpected space after start line": _NAME,
    "Unexpected whitespace after header value": _VALUE,
    "Invalid header value char": _VALUE,
    "Expected dot": _VERSION,
    "Expected HTTP/, RTSP/ or ICE/": _VERSION,
    "Invalid HTTP version": _VERSION,
    "Invalid major version": _VERSION,
    "Invalid minor version": _VERSION,
    "Expected SOURCE method for ICE/x.x request": _VERSION,
    "Expected space after method": _METHOD,
    "Invalid method encountered": _METHOD,
    "Invalid method for HTTP/x.x request": _METHOD,
    "Invalid method for RTSP/x.x request": _METHOD,
    "Pause on PRI/Upgrade": "HTTP/2 came where HTTP/1.1 is spoken; send HTTP/1.1.",
    "Expected HTTP/2 Connection Preface": "HTTP/2 came where HTTP/1.1 is spoken; send HTTP/1.1.",
}


def malformed(detail: str) -> Refusal:
    """A request that cannot be told from another; after it nothing of the connection is read."""
    return Refusal(Code.MALFORMED_REQUEST, detail)


def refusal_of(error: HttpParserError) -> Refusal:
    """What stopped the parser where no callback meant to: a fault of ours in one, or input that is not HTTP."""
    if isinstance(error, HttpParserCallbackError):
        return as_refusal(error, b"-")
    reason = str(error)
    return malformed(_MEANINGS.get(reason) or f"This is not HTTP/1.1 as RFC 9112 has it: {reason}.")


def repeated(name: bytes) -> Refusal:
    """A header of ONCE that came again."""
    return malformed(said_twice(name))


def bad_host() -> Refusal:
    """RFC 9112, 3.2."""
    return malformed("The Host header names no host; send 'Host: name' or 'Host: name:port'.")


def no_host() -> Refusal:
    """RFC 9112, 3.2."""
    return malformed("There is no Host header, which HTTP/1.1 requires; send 'Host: name'.")


def wrong_version(version: str) -> Refusal:
    """RFC 9112 is all that is spoken."""
    return malformed(f"HTTP/{version} is not spoken here; send HTTP/1.1.")


def wrong_coding(coding: bytes) -> Refusal:
    """Anything but `chunked` would have to be undone before the body could be read."""
    return malformed(f"Transfer-Encoding is '{coding[:100].decode('latin-1')}'; send 'chunked' alone.")


def coding_of_http_1_0() -> Refusal:
    """RFC 9112, 6.1: such a message was passed on by somebody who did not understand it."""
    return malformed("HTTP/1.0 has no Transfer-Encoding; send HTTP/1.1, or a Content-Length.")


def long_length() -> Refusal:
    """More digits than any body has."""
    return malformed(f"Content-Length has more than {MAX_LENGTH_DIGITS} characters; send the plain number.")


def blank_lines() -> Refusal:
    """A request may come after an empty line; a stream of them is none."""
    return malformed(f"More than {MAX_BLANK_BYTES} bytes of empty lines came where a request begins; send the request.")


def no_proxy() -> Refusal:
    """CONNECT."""
    return Refusal(
        Code.METHOD_NOT_ALLOWED,
        "This is no proxy; send the request to its host.",
        headers=b"Allow: GET, HEAD, POST\r\n",
    )


def too_slow(seconds: int) -> Refusal:
    """From the first byte of a request to its last."""
    return malformed(
        f"The request was not complete after {seconds} seconds; send it at once, in smaller parts if it is large."
    )


def closing() -> Refusal:
    """Nobody is told: the connection has its last answer."""
    return malformed("The connection is being closed.")


def head_too_large() -> Refusal:
    """In bytes."""
    detail = f"Request line and headers may have {MAX_HEAD_BYTES} bytes together; leave out what is not needed."
    return Refusal(Code.HEADERS_TOO_LARGE, detail)


def too_many_headers() -> Refusal:
    """In lines."""
    return Refusal(
        Code.HEADERS_TOO_LARGE, f"A request may have {MAX_HEADERS} header lines; leave out what is not needed."
    )


def body_too_large(limit: int) -> Refusal:
    """As this route has it."""
    return Refusal(Code.BODY_TOO_LARGE, f"The body may have {limit} bytes here; send less at once.")
