"""The hot routes on core's address: passed on to the edge and back byte for byte. Their logic is the edge's alone."""

from io import BytesIO
from typing import Any

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.types import Method
from yarl import URL

from app.errors import ServiceError
from app.io.outbound import NO_ANSWER, Session
from app.io.tracing import current_traceparent
from app.web.application import ANY_QUERY
from app.web.bodies import ExactResponse
from app.web.outer import request_id_of
from app.web.principal import address_of
from app.wire.codes import Code

MAX_FORWARDED_BYTES = 8 << 20
"""More than the edge takes, so that it is the edge that refuses."""
TIMEOUT_SECONDS = 10
CONNECTIONS = 200
SENT_ON = (
    *("authorization", "x-api-key", "content-type", "content-encoding"),
    *("idempotency-key", "if-none-match"),
)
NOT_ADDED = ("content-type", "user-agent")
NOT_SENT_BACK = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "x-request-id"}
HOT_ROUTES: tuple[tuple[Method, str], ...] = (
    ("GET", "/v1/entitlements"),
    ("GET", "/v1/entitlements/check"),
    ("POST", "/v1/entitlements/check"),
    ("POST", "/v1/usage"),
    ("POST", "/v1/usage/batch"),
    ("POST", "/v1/features/{key:str}/acquire"),
    ("POST", "/v1/features/{key:str}/release"),
    ("POST", "/api/v1/events"),
    ("POST", "/v1/reservations"),
    ("POST", "/v1/reservations/{reservation_id:str}/commit"),
    ("POST", "/v1/reservations/{reservation_id:str}/release"),
    ("POST", "/v1/reservations/{reservation_id:str}/extend"),
    ("GET", "/v1/reservations/{reservation_id:str}"),
)


class Edge:
    """The edge, over connections that are kept."""

    def __init__(self, session: Session, url: str) -> None:
        self._session = session
        self._url = url

    async def send(self, request: Request[Any, Any, Any]) -> ExactResponse[bytes]:
        """Pass the request on and give its answer back. Raises ServiceError(EDGE_UNAVAILABLE)."""
        path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
        url = URL(f"{self._url}{path}?{query}".rstrip("?"), encoded=True)
        headers = {name: request.headers[name] for name in SENT_ON if name in request.headers}
        headers |= {"x-request-id": request_id_of(request.scope), "accept-encoding": "identity"}
        if traceparent := current_traceparent():
            headers["traceparent"] = traceparent
        headers["x-forwarded-for"] = address_of(request)
        body = await request.body()
        data = BytesIO(body) if body else None  # a large one as plain bytes would hold up the loop
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=data, skip_auto_headers=NOT_ADDED, allow_redirects=False
            ) as answer:
                content = await answer.read()
        except NO_ANSWER as error:
            detail = "The metering edge does not answer at this moment. Try again with the same idempotency key."
            raise ServiceError(Code.EDGE_UNAVAILABLE, detail) from error
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in NOT_SENT_BACK}
        return ExactResponse(content, status_code=answer.status, headers=kept, media_type=answer.content_type)


async def forward(request: Request[Any, Any, Any], edge: NamedDependency[Edge]) -> ExactResponse[bytes]:
    """Answered by the edge."""
    return await edge.send(request)


ROUTES = [
    {"GET": get, "POST": post}[method](
        path, opt={ANY_QUERY: True}, include_in_schema=False, request_max_body_size=MAX_FORWARDED_BYTES
    )(forward)
    for method, path in HOT_ROUTES
]
