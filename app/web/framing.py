"""Refuses a request that somebody in between may have read in another way.

The HTTP server settles some doubts without a word: it drops a Content-Length that comes with chunks. What it lets
through is looked at here; docs/decisions/0009-who-faces-the-open-network.md says who refuses the rest.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from app.errors import ServiceError
from app.web.outer import request_id_of
from app.web.problems import problem_body, status_of
from app.wire.codes import Code
from app.wire.headers import ONCE, said_twice
from app.wire.problem import CONTENT_TYPE

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

_CODING = b"transfer-encoding"


class FramingMiddleware:
    """Stands within the middleware that names the request, and before everything else."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Refuse, or pass on."""
        detail = doubt(cast("HTTPScope", scope)["headers"]) if scope["type"] == "http" else None
        if detail is None:
            await self._app(scope, receive, send)
            return
        body = problem_body(ServiceError(Code.MALFORMED_REQUEST, detail), request_id_of(cast("HTTPScope", scope)))
        headers = [
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        status = status_of(Code.MALFORMED_REQUEST)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def doubt(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """What may be read in two ways, and what to send instead; None where nothing may."""
    seen: set[bytes] = set()
    for name, value in headers:
        if name not in ONCE:
            continue
        if name in seen:
            return said_twice(name)
        if name == _CODING and value.strip().lower() != b"chunked":
            return "Transfer-Encoding is not 'chunked'; send that alone, or a Content-Length."
        seen.add(name)
    return None
