"""One request and its answer."""

import re
from http import HTTPStatus
from logging import getLogger
from typing import Protocol

from app.wire import problem
from app.wire.codes import Code
from edge import metrics
from edge.log_lines import fields
from edge.refusals import Refusal

log = getLogger(__name__)

REFUSALS = metrics.counter(
    "quotastack_edge_refusals_total", "Requests that were refused", ["code"], [(code.value,) for code in Code]
)

ID_SEGMENT = 3
"""Where a path has its id: `/v1/reservations/{id}/commit`."""
REPLAYED = b"Idempotent-Replayed: true\r\n"
NO_ROUTE = ("none", "none")
"""The label of what no route takes, whatever it names as its method and path."""

_REFUSAL_ROWS = {code: REFUSALS.row(code.value) for code in Code}
_JSON = b"Content-Type: application/json\r\n"
_PROBLEM = b"Content-Type: %b\r\n" % problem.CONTENT_TYPE.encode()
_CLOSE = b"Connection: close\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_REQUEST_ID = re.compile(rb"[\x20-\x7e]{1,128}")


class Line(Protocol):
    """What an exchange has to know of the connection that it came by."""

    def answered(self) -> None:
        """An exchange has its answer: write what is due."""
        ...

    def new_request_id(self) -> bytes:
        """An id for a request that came without."""
        ...

    def observe(self, exchange: "Exchange", status: int) -> None:
        """Count and log an exchange that has its answer."""
        ...

    @property
    def peer(self) -> str:
        """The address of who is connected; nothing where that is gone, or no address."""
        ...


class Exchange:
    """A request whose head has been read; its body follows, and then its answer."""

    __slots__ = (
        "_id",
        "_line",
        "answer",
        "began_at",
        "body",
        "code",
        "headers",
        "is_http_1_0",
        "keep_alive",
        "label",
        "method",
        "path",
        "query",
        "rate_lines",
    )

    def __init__(self, line: Line, method: bytes, target: bytes, headers: dict[bytes, bytes]) -> None:
        self._line = line
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.body = b""
        self.keep_alive = True
        self.is_http_1_0 = False
        self.answer: bytes | None = None
        self.label: tuple[str, str] = NO_ROUTE
        """Method and pattern of its route."""
        self.code: Code | None = None
        """Why it was refused."""
        self.began_at = 0
        """Monotonic nanoseconds when the whole request was there; 0 = it never was."""
        self.rate_lines = b""
        """What the answer says of rate limits, as whole lines, once it is known who asks."""
        self._id: bytes | None = None

    @property
    def peer(self) -> str:
        """The address of who asks."""
        return self._line.peer

    @property
    def request_id(self) -> bytes:
        """The client's X-Request-Id where it can be echoed, else one of ours."""
        if self._id is None:
            sent = self.headers.get(b"x-request-id")
            if sent is None or _REQUEST_ID.fullmatch(sent) is None:
                sent = self._line.new_request_id()
            self._id = sent
        return self._id

    def respond(self, status: int, body: bytes, headers: bytes = b"", content_type: bytes = _JSON) -> None:
        """Answer; `headers` are whole lines. The answer leaves when those before it have left."""
        self.answer = b"%b%bContent-Length: %d\r\nX-Request-Id: %b\r\n%b%b%b\r\n%b" % (
            _STATUS_LINES[status],
            content_type,
            len(body),
            self.request_id,
            self.rate_lines,
            headers,
            self._connection_line(),
            b"" if self.method == b"HEAD" or status == HTTPStatus.NOT_MODIFIED else body,
        )
        self._line.observe(self, status)
        self._line.answered()

    def confirm(self, headers: bytes = b"") -> None:
        """Answer 204: done, and nothing more to say; such an answer has no length (RFC 9110, 8.6)."""
        lines = (self.request_id, self.rate_lines, headers, self._connection_line())
        self.answer = b"%bX-Request-Id: %b\r\n%b%b%b\r\n" % (_STATUS_LINES[HTTPStatus.NO_CONTENT], *lines)
        self._line.observe(self, HTTPStatus.NO_CONTENT)
        self._line.answered()

    def _connection_line(self) -> bytes:
        if not self.keep_alive:
            return _CLOSE
        return _KEEP_ALIVE if self.is_http_1_0 else b""

    def refuse(self, refusal: Refusal, instance: str | None = None, headers: bytes = b"") -> None:
        """Answer with a problem document."""
        self.code = refusal.code
        REFUSALS.add(_REFUSAL_ROWS[refusal.code])
        body = refusal.body(instance or self.request_id.decode())
        self.respond(refusal.status, body, refusal.header_lines() + headers, _PROBLEM)

    def fail(self, error: Exception) -> None:
        """Answer an exception: a refusal as it says, anything else as our own fault, which is logged."""
        self.refuse(as_refusal(error, self.request_id))


def as_refusal(error: Exception, request_id: bytes) -> Refusal:
    """The refusal that an exception is, or a 500 that tells nothing but the request id under which it was logged."""
    if isinstance(error, Refusal):
        return error
    log.error("request failed", exc_info=error, extra=fields(request_id=request_id.decode()))
    return Refusal(Code.INTERNAL_ERROR, f"The request could not be answered; it was logged as {request_id.decode()}.")
