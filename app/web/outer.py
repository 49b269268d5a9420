"""What stands around the whole application, so that requests which no route takes have it too.

Every request has a name, the client's X-Request-Id or one that is made: echoed, logged, and in every problem. Each is
counted under the pattern of its route, since paths as they are sent have no bound. Paths are matched as they were sent,
so that `/v1/customers/a%2Fb` is the customer `a/b`.
"""

import re
import time
from typing import TYPE_CHECKING, cast

import structlog

from app.io import metrics
from app.io.ids import new_request_id
from app.web.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

_log = structlog.get_logger("request")
_HEADER = b"x-request-id"
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
        request_id = _given(scope["headers"]) or new_request_id()
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
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_named)
            finally:
                _tell(scope, status, time.perf_counter() - began)


def _tell(scope: "HTTPScope", status: int, seconds: float) -> None:
    """Log the request and count it."""
    route = cast("Mapping[str, str | None]", scope).get("path_template")
    method = scope["method"] if route else NO_ROUTE
    _REQUESTS.labels(route or NO_ROUTE, method, f"{status // 100}xx").inc()
    _SECONDS.labels(route or NO_ROUTE, method).observe(seconds)
    asked = cast("Mapping[str, object]", scope).get("user")
    who = {"key_id": asked.actor, "environment_id": asked.environment} if isinstance(asked, Principal) else {}
    elapsed_ms = round(1000 * seconds, 2)
    _log.info(
        "request", method=scope["method"], path=scope["path"], route=route, status=status, elapsed_ms=elapsed_ms, **who
    )


def _given(headers: "list[tuple[bytes, bytes]] | object") -> str | None:
    for name, value in cast("list[tuple[bytes, bytes]]", headers):
        if name.lower() == _HEADER:
            text = value.decode("latin-1")
            return text if _ACCEPTED.fullmatch(text) else None
    return None
