"""Which handler answers which request, and who may ask."""

import re
from collections.abc import Callable
from functools import partial

import msgspec

from app.wire.codes import Code
from app.wire.scopes import Scope
from edge.auth import Principal
from edge.batch import record_batch
from edge.check_batch import check_batch
from edge.checks import check
from edge.exchange import Exchange
from edge.gauges import acquire, release
from edge.ingesting import record_any, record_emitted
from edge.listing import list_entitlements
from edge.redis import Reply, pack
from edge.refusals import Refusal
from edge.services import Services

MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_SHOWN_PATH = 200
"""Of what a client sent, as much comes back to it."""

Handler = Callable[[Services, Exchange, Principal], None]


class Route(msgspec.Struct, frozen=True):
    """One method on one path: its handler, and the scope that a key needs."""

    handler: Handler
    scope: Scope


class NamedRoute(msgspec.Struct, frozen=True):
    """One method on the paths of a pattern, whose group is handed to the handler as it was sent."""

    method: bytes
    pattern: re.Pattern[bytes]
    handler: Callable[[Services, Exchange, Principal, bytes], None]
    scope: Scope

    def on(self, path: bytes) -> Route | None:
        """The route, where the path is one of its own."""
        found = self.pattern.fullmatch(path)
        return None if found is None else Route(partial(self._call, name=found[1]), self.scope)

    def _call(self, services: Services, exchange: Exchange, principal: Principal, *, name: bytes) -> None:
        self.handler(services, exchange, principal, name)


ROUTES = {
    (b"GET", b"/v1/entitlements"): Route(list_entitlements, Scope.ENTITLEMENTS_READ),
    (b"GET", b"/v1/entitlements/check"): Route(check, Scope.ENTITLEMENTS_READ),
    (b"POST", b"/v1/entitlements/check"): Route(check_batch, Scope.ENTITLEMENTS_READ),
    (b"POST", b"/v1/usage"): Route(record_any, Scope.USAGE_WRITE),
    (b"POST", b"/v1/usage/batch"): Route(record_batch, Scope.USAGE_WRITE),
    (b"POST", b"/api/v1/events"): Route(record_emitted, Scope.USAGE_WRITE),
}
NAMED_ROUTES = (
    NamedRoute(b"POST", re.compile(rb"/v1/features/([^/]+)/acquire"), acquire, Scope.USAGE_WRITE),
    NamedRoute(b"POST", re.compile(rb"/v1/features/([^/]+)/release"), release, Scope.USAGE_WRITE),
)
"""Looked at one after the other, once no path matches exactly."""
PROBES = (b"/livez", b"/readyz")
BODY_LIMITS = {b"/v1/usage/batch": MAX_BATCH_BYTES, b"/api/v1/events": MAX_BATCH_BYTES}


class Router:
    """Has every request answered."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def dispatch(self, exchange: Exchange) -> None:
        """Answer now, or see to it that the request will be; never raises."""
        try:
            route = ROUTES.get((exchange.method, exchange.path)) or _named(exchange.method, exchange.path)
            if route is None:
                self._dispatch_rest(exchange)
                return
            principal = self._services.keys.known(exchange.headers)
            if principal is None:
                self._services.start(self._enter(route, exchange))
            else:
                principal.require(route.scope)
                route.handler(self._services, exchange, principal)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets its answer
            exchange.fail(error)

    async def _enter(self, route: Route, exchange: Exchange) -> None:
        """Look the key up first."""
        try:
            principal = await self._services.keys.find(exchange.headers)
            principal.require(route.scope)
            route.handler(self._services, exchange, principal)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets its answer
            exchange.fail(error)

    def _dispatch_rest(self, exchange: Exchange) -> None:
        method, path = exchange.method, exchange.path
        if not path.startswith(b"/"):
            raise Refusal(Code.NOT_FOUND, "Send the path alone; this is no proxy.")
        reading = b"GET" if method == b"HEAD" else method
        if path in PROBES and reading == b"GET":
            self._probe(exchange)
        elif (reading, path) in ROUTES and method == b"HEAD":
            self._services.start(self._enter(ROUTES[reading, path], exchange))
        else:
            raise _no_route(path)

    def _probe(self, exchange: Exchange) -> None:
        if exchange.path == b"/livez":
            exchange.respond(200, b'{"status":"alive"}')
        else:
            self._services.redis.send(pack(b"PING"), _Ready(exchange))


class _Ready:
    """Says that the edge is ready where Redis answers."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def received(self, reply: Reply) -> None:
        """Redis answers."""
        del reply
        self._exchange.respond(200, b'{"status":"ready"}')

    def failed(self, error: Exception) -> None:
        """It does not."""
        self._exchange.fail(error)


def _named(method: bytes, path: bytes) -> Route | None:
    found = (known.on(path) for known in NAMED_ROUTES if known.method == method)
    return next(filter(None, found), None)


def _no_route(path: bytes) -> Refusal:
    allowed = [method for method, known in ROUTES if known == path] + [b"GET"] * (path in PROBES)
    allowed += [known.method for known in NAMED_ROUTES if known.on(path)]
    shown = path[:MAX_SHOWN_PATH].decode("latin-1")
    if not allowed:
        return Refusal(Code.NOT_FOUND, f"There is nothing at {shown}; see /docs for what there is.")
    if b"GET" in allowed:
        allowed.append(b"HEAD")
    methods = b", ".join(allowed)
    detail = f"{shown} takes {methods.decode()}."
    return Refusal(Code.METHOD_NOT_ALLOWED, detail, headers=b"Allow: %b\r\n" % methods)
