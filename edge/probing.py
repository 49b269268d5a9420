"""`/livez`, `/readyz` and `/metrics`: what probes and the collector of figures ask of a worker, without an API key."""

from http import HTTPStatus

import msgspec

from app.wire.codes import Code
from app.wire.scraping import FORWARDED, REFUSED, may_scrape
from edge import metrics
from edge.auth import BELIEVED_SECONDS
from edge.exchange import Exchange
from edge.redis_link import Reply, pack
from edge.refusals import Refusal
from edge.services import Services

LIVEZ, READYZ, METRICS = PROBES = (b"/livez", b"/readyz", b"/metrics")


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a worker needs; `detail` says what is wrong with it and what to do."""

    status: str
    detail: str = ""


class Readiness(msgspec.Struct, frozen=True):
    """The body of a 200: `ready`, or `degraded` where it does what it can and somebody should look."""

    status: str
    parts: dict[str, Part]


OK = Part("ok")
_REDIS_AWAY = "Redis does not answer; see its log, and REDIS_URL."


def probe(services: Services, exchange: Exchange) -> None:
    """Answer one of PROBES. Raises Refusal."""
    if exchange.path == LIVEZ:
        exchange.respond(HTTPStatus.OK, b'{"status":"alive"}')
    elif exchange.path == METRICS:
        _tell_figures(exchange, services.settings.metrics_token)
    elif services.is_stopping:
        raise Refusal(Code.STORE_UNAVAILABLE, "This edge is stopping; another one has to serve.")
    else:
        services.redis.send(pack(b"PING"), _Ready(services, exchange))


def judge(*, has_redis: bool, had_it_lately: bool, spool: str) -> dict[str, Part] | Readiness:
    """Whether a worker can work: the parts alone where it cannot. `spool` says what is wrong with that, if anything.

    Without Redis it can take in usage for as long as it believes the API keys that it knows, and has room for it.
    """
    can_spool = had_it_lately and not spool
    redis = OK if has_redis else Part("degraded" if can_spool else "failing", _REDIS_AWAY)
    parts = {"redis": redis, "spool": Part("degraded", spool) if spool else OK}
    if redis.status == "failing":
        return parts
    return Readiness("ready" if has_redis and not spool else "degraded", parts)


class _Ready:
    """Answers once Redis has, or has not."""

    def __init__(self, services: Services, exchange: Exchange) -> None:
        self._services = services
        self._exchange = exchange

    def received(self, reply: Reply) -> None:
        """Redis answers."""
        del reply
        self._tell(has_redis=True)

    def failed(self, error: Exception) -> None:
        """It does not."""
        del error
        self._tell(has_redis=False)

    def _tell(self, *, has_redis: bool) -> None:
        lately = self._services.redis.was_there_within(BELIEVED_SECONDS)
        judged = judge(has_redis=has_redis, had_it_lately=lately, spool=self._services.spool.complaint)
        if isinstance(judged, Readiness):
            self._exchange.respond(HTTPStatus.OK, msgspec.json.encode(judged))
        else:
            context = {"parts": msgspec.to_builtins(judged)}
            self._exchange.refuse(Refusal(Code.STORE_UNAVAILABLE, _REDIS_AWAY, context=context))


def _tell_figures(exchange: Exchange, token: str | None) -> None:
    """Answer with what all workers count. Raises Refusal."""
    headers = exchange.headers
    is_forwarded = any(name.encode() in headers for name in FORWARDED)
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    if not may_scrape(token, authorization, exchange.peer, is_forwarded=is_forwarded):
        raise Refusal(Code.UNAUTHENTICATED, REFUSED)
    exchange.respond(HTTPStatus.OK, metrics.exposition(), content_type=metrics.CONTENT_TYPE)
