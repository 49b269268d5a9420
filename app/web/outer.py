"""What stands around the whole application, so that requests which no route takes have it too.

Every request has a name, the client's X-Request-Id or one that is made: echoed, logged, and in every problem. Each is
counted under the pattern of its route, since paths as they are sent have no bound. Paths are matched as they were sent,
so that `/v1/customers/a%2Fb` is the customer `a/b`.
"""

import re
import time
from typing import TYPE_CHECKING, cast

import structlog

from app.io import metrics, tracing
from app.io.ids import new_request_id
from app.io.tracing import Span
from app.web.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

_log = structlog.get_logger("request")
_HEADER = b"x-request-id"
_TRACE = b"traceparent"
_ACCEPTED = re.compile(r"[!-~]{1,128}")
_STATE = "request_id"
NO_ROUTE = "none"
"""The label of what no route takes, whatever it names as its path and method."""
_REQUESTS = metrics.counter(
    "quotastack_core_requests_total", "Requests that were answered", ["route", "method", "status"]
)
_SECONDS = metrics.histogram(
    "quotastack_core_request_seconds", "From the head of a request to its answer", ["route", "method"]
)
_FIELDS = "fields"
Headers = list[tuple[bytes, bytes]]


def request_id_of(scope: "Scope") -> str:
    """The name of the request under way."""
    return cast("str", cast("dict[str, object]", scope["state"]).get(_STATE, ""))


def add_headers(scope: "Scope", headers: Headers) -> None:
    """Have the answer to the request under way carry these, whatever answer it is; names in small letters."""
    cast("dict[str, Headers]", scope["state"]).setdefault(_FIELDS, []).extend(headers)


class OuterMiddleware:
    """Names and logs each request, and leaves the decoding of its path to the route."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Name, pass on, log."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = cast("HTTPScope", scope)
        sent_id, traceparent = (_header(scope["headers"], name) for name in (_HEADER, _TRACE))
        request_id = sent_id if sent_id and _ACCEPTED.fullmatch(sent_id) else new_request_id()
        scope["path"] = scope["raw_path"].decode("latin-1")
        cast("dict[str, object]", scope).setdefault("state", {})
        scope["state"][_STATE] = request_id
        status = 0

        async def send_named(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = cast("Headers", scope["state"].get(_FIELDS, []))
                message["headers"] = [*message["headers"], (_HEADER, request_id.encode()), *more]
            await send(message)

        began = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            tracing.within_trace(traceparent) as parent,
            tracing.span("request", {"quotastack.request_id": request_id}, kind="server", parent=parent) as span,
        ):
            try:
                await self._app(scope, receive, send_named)
            finally:
                _tell(scope, status, time.perf_counter() - began, span)


def _tell(scope: "HTTPScope", status: int, seconds: float, span: Span) -> None:
    """Log the request, count it, and name its span, now that its route is known."""
    route = cast("Mapping[str, str | None]", scope).get("path_template")
    method = scope["method"] if route else NO_ROUTE
    span.rename(f"{method} {route}" if route else "request")
    span.note({"http.request.method": method, "http.route": route or NO_ROUTE, "http.response.status_code": status})
    _REQUESTS.labels(route or NO_ROUTE, method, f"{status // 100}xx").inc()
    _SECONDS.labels(route or NO_ROUTE, method).observe(seconds)
    asked = cast("Mapping[str, object]", scope).get("user")
    who = {"key_id": asked.actor, "environment_id": asked.environment} if isinstance(asked, Principal) else {}
    elapsed_ms = round(1000 * seconds, 2)
    _log.info(
        "request", method=scope["method"], path=scope["path"], route=route, status=status, elapsed_ms=elapsed_ms, **who
    )


def _header(headers: "Iterable[tuple[bytes, bytes]]", wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in headers if name.lower() == wanted), None)
