"""Which handler answers which request, and who may ask."""

from collections.abc import Callable
from functools import partial

import msgspec

from app.wire.codes import Code
from app.wire.scopes import Scope
from edge import ending, gauges, metrics
from edge.auth import Principal
from edge.batch import record_batch
from edge.check_batch import check_batch
from edge.checks import check
from edge.exchange import ID_SEGMENT, NO_ROUTE, Exchange
from edge.ingesting import record_any, record_emitted
from edge.listing import list_entitlements
from edge.probing import PROBES, probe
from edge.refusals import Refusal
from edge.reserving import reserve
from edge.services import Services

MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_SHOWN_PATH = 200
"""Of what a client sent, as much comes back to it."""

Handler = Callable[[Services, Exchange, Principal], None]


class Route(msgspec.Struct, frozen=True):
    """One method on one path: its handler, and the scope that a key needs."""

    handler: Handler
    scope: Scope
    label: tuple[str, str] = NO_ROUTE
    """Method and path, as figures and logs name it."""


_ROUTES = {
    (b"GET", b"/v1/entitlements"): Route(list_entitlements, Scope.ENTITLEMENTS_READ),
    (b"GET", b"/v1/entitlements/check"): Route(check, Scope.ENTITLEMENTS_READ),
    (b"POST", b"/v1/entitlements/check"): Route(check_batch, Scope.ENTITLEMENTS_READ),
    (b"POST", b"/v1/usage"): Route(record_any, Scope.USAGE_WRITE),
    (b"POST", b"/v1/usage/batch"): Route(record_batch, Scope.USAGE_WRITE),
    (b"POST", b"/api/v1/events"): Route(record_emitted, Scope.USAGE_WRITE),
    (b"POST", b"/v1/reservations"): Route(reserve, Scope.USAGE_WRITE),
    (b"POST", b"/v1/reservations/{}/commit"): Route(ending.commit, Scope.USAGE_WRITE),
    (b"POST", b"/v1/reservations/{}/release"): Route(ending.release, Scope.USAGE_WRITE),
    (b"POST", b"/v1/reservations/{}/extend"): Route(ending.extend, Scope.USAGE_WRITE),
    (b"GET", b"/v1/reservations/{}"): Route(ending.show, Scope.ENTITLEMENTS_READ),
    (b"POST", b"/v1/features/{}/acquire"): Route(gauges.acquire, Scope.USAGE_WRITE),
    (b"POST", b"/v1/features/{}/release"): Route(gauges.release, Scope.USAGE_WRITE),
}


def _label(method: bytes, path: bytes) -> tuple[str, str]:
    return method.decode(), path.replace(b"{}", b"{id}").decode()


ROUTES = {key: Route(route.handler, route.scope, _label(*key)) for key, route in _ROUTES.items()}
"""By method and path; `{}` stands for an id or key."""
_PROBE_LABELS = {path: _label(b"GET", path) for path in PROBES}
LABELS = (NO_ROUTE, *_PROBE_LABELS.values(), *(route.label for route in ROUTES.values()))
_LOOKUPS = metrics.counter(
    "quotastack_edge_key_lookups_total", "Requests whose API key was not looked up within the last half second"
)
_LOOKUP = _LOOKUPS.row()
BODY_LIMITS = {b"/v1/usage/batch": MAX_BATCH_BYTES, b"/api/v1/events": MAX_BATCH_BYTES}


class Router:
    """Has every request answered."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def dispatch(self, exchange: Exchange) -> None:
        """Answer now, or see to it that the request will be; never raises."""
        try:
            route = ROUTES.get((exchange.method, exchange.path))
            if route is None and (route := ROUTES.get((exchange.method, _pattern(exchange.path)))) is None:
                self._dispatch_rest(exchange)
                return
            exchange.label = route.label
            principal = self._services.keys.known(exchange.headers)
            if principal is None:
                _LOOKUPS.add(_LOOKUP)
                self._services.start(self._enter(route, exchange))
            else:
                self._admit(route, exchange, principal)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets its answer
            exchange.fail(error)

    async def _enter(self, route: Route, exchange: Exchange) -> None:
        """Look the key up first."""
        try:
            principal = await self._services.keys.find(exchange.headers, exchange.peer)
            self._admit(route, exchange, principal)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets its answer
            exchange.fail(error)

    def _admit(self, route: Route, exchange: Exchange, principal: Principal) -> None:
        """Have the request answered that its rate limits let through, now or once Redis has counted it."""
        if principal.meter.enter(exchange):
            self._handle(route, exchange, principal)
        else:
            principal.meter.wait(exchange, partial(self._handle, route, exchange, principal))

    def _handle(self, route: Route, exchange: Exchange, principal: Principal) -> None:
        try:
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
            exchange.label = _PROBE_LABELS[path]
            probe(self._services, exchange)
        elif method == b"HEAD" and (route := ROUTES.get((reading, path)) or ROUTES.get((reading, _pattern(path)))):
            exchange.label = route.label
            self._services.start(self._enter(route, exchange))
        else:
            raise _no_route(path)


def _pattern(path: bytes) -> bytes:
    """The path with its id taken out, as ROUTES names it; a path without one as it is."""
    parts = path.split(b"/", ID_SEGMENT + 2)
    if len(parts) > ID_SEGMENT:
        parts[ID_SEGMENT] = b"{}"
    return b"/".join(parts)


def _no_route(path: bytes) -> Refusal:
    allowed = [method for method, known in ROUTES if known in {path, _pattern(path)}] + [b"GET"] * (path in PROBES)
    shown = path[:MAX_SHOWN_PATH].decode("latin-1")
    if path.startswith(b"/docs"):  # a problem's `type` is relative to the address that serves everything
        return Refusal(Code.NOT_FOUND, f"The pages are at {shown} of core's address; here are the hot routes alone.")
    if not allowed:
        return Refusal(Code.NOT_FOUND, f"There is nothing at {shown}; core's /docs/api says what there is.")
    if b"GET" in allowed:
        allowed.append(b"HEAD")
    methods = b", ".join(allowed)
    detail = f"{shown} takes {methods.decode()}."
    return Refusal(Code.METHOD_NOT_ALLOWED, detail, headers=b"Allow: %b\r\n" % methods)
