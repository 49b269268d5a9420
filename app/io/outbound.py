"""HTTP that goes out from here: with `probes`, which listens, the only importer of aiohttp in `app`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from ssl import SSLContext
from time import monotonic
from typing import Any, Final

import aiohttp
import msgspec

from app.io.guard import ForbiddenAddress, GuardedConnector, Resolver
from app.rules.addresses import Network
from app.rules.retry import read_retry_after

Session = aiohttp.ClientSession

# What a request raises when no answer came: refused, cut off, too slow.
NO_ANSWER: Final = (aiohttp.ClientError, TimeoutError)

WEBHOOK_SECONDS: Final = 15
"""As long may an attempt take, all in all."""

WEBHOOK_BODY_BYTES: Final = 16_384
"""As much is read of the body of an answer."""

_CONNECT_SECONDS: Final = 5
_CONNECTIONS: Final = 100
_WEBHOOK_CONNECTIONS: Final = 256
_WEBHOOK_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity"}
_NOT_OURS: Final = ("Content-Type", "User-Agent")  # the caller's, and not what aiohttp would say of this machine


class Answer(msgspec.Struct, frozen=True):
    """An answer that was read to its end."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    """Names in any case."""

    def json(self) -> Any:  # noqa: ANN401 - whatever the other side sent
        """Decode the body; raises msgspec.DecodeError."""
        return msgspec.json.decode(self.body)


def open_session(*, total_seconds: float, connections: int = _CONNECTIONS, decompress: bool = True) -> Session:
    """Make a session; open it inside a running event loop and close it when done.

    `total_seconds` bounds a request from its connection to the last byte, `connections` how many are open at once;
    without `decompress` bodies are passed on as they came. Keeps no cookies and takes no proxy from the environment.
    """
    return Session(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=total_seconds, connect=min(_CONNECT_SECONDS, total_seconds)),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=decompress,
    )


async def send(
    session: Session, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: object = None
) -> Answer:
    """Send one request, with `body` as JSON unless it is None, and read the answer. Redirects are answers.

    Raises one of NO_ANSWER.
    """
    content = None if body is None else msgspec.json.encode(body)
    typed = {} if body is None else {"Content-Type": "application/json"}
    async with session.request(
        method, url, headers={**typed, **(headers or {})}, data=content, allow_redirects=False
    ) as response:
        return Answer(response.status, await response.read(), response.headers)


class Failure(StrEnum):
    """Why a webhook got no answer."""

    FORBIDDEN_ADDRESS = "forbidden_address"
    """The name leads, or the URL, to an address that is not public."""
    NAME_NOT_RESOLVED = "name_not_resolved"
    NOT_CONNECTED = "not_connected"
    TLS_FAILED = "tls_failed"
    """No secure connection came about, or the certificate is not good for the name."""
    TIMED_OUT = "timed_out"
    CUT_OFF = "cut_off"
    """The connection ended before an answer had begun."""
    MALFORMED_ANSWER = "malformed_answer"
    """What came is no HTTP, or does not come to its end."""
    MALFORMED_URL = "malformed_url"


# The first that an error is an instance of: some are kinds of others.
_FAILURES: Final = (
    (aiohttp.ClientConnectorDNSError, Failure.NAME_NOT_RESOLVED),
    (aiohttp.ClientSSLError, Failure.TLS_FAILED),
    (aiohttp.ClientConnectorError, Failure.NOT_CONNECTED),
    (TimeoutError, Failure.TIMED_OUT),
    (aiohttp.ClientResponseError, Failure.MALFORMED_ANSWER),
    (aiohttp.InvalidURL, Failure.MALFORMED_URL),
)


class Delivery(msgspec.Struct, frozen=True):
    """What became of one attempt. There is a `status` or a `failure`, never both."""

    status: int | None
    body_start: bytes
    """At most WEBHOOK_BODY_BYTES, as they came."""
    retry_after_seconds: int | None
    failure: Failure | None
    elapsed_ms: int


def open_guarded_session(
    allowed: Sequence[Network],
    *,
    total_seconds: float = WEBHOOK_SECONDS,
    connections: int = _WEBHOOK_CONNECTIONS,
    resolver: Resolver | None = None,
    tls: SSLContext | None = None,
) -> Session:
    """Make a session for URLs that strangers named; open it inside a running event loop and close it when done.

    It connects to public addresses and to `allowed` ones, whatever a name resolves to (app/io/guard.py), verifies
    certificates by what the system trusts unless `tls` says otherwise, keeps no cookies, takes no proxy from the
    environment and unpacks nothing. `total_seconds` runs from looking up the name to the last byte that is read. Who
    has more than `connections` requests under way has them wait inside their time.
    """
    return Session(
        connector=GuardedConnector(allowed, connections, resolver, tls),
        timeout=aiohttp.ClientTimeout(total_seconds, sock_connect=_CONNECT_SECONDS, ceil_threshold=WEBHOOK_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers=_WEBHOOK_HEADERS,
        skip_auto_headers=_NOT_OURS,
        read_bufsize=WEBHOOK_BODY_BYTES,
    )


async def post_webhook(session: Session, url: str, headers: Mapping[str, str], body: bytes) -> Delivery:
    """Post the body once, and say what became of it: whatever the other side does, nothing is raised.

    The answer is its status. What is wrong with a body that follows it changes nothing any more.
    """
    began_at = monotonic()
    status, body_start, retry_after_seconds, failure = None, b"", None, None
    try:
        async with session.post(url, headers=headers, data=body, allow_redirects=False) as response:
            status = response.status
            fields = response.headers
            retry_after_seconds = read_retry_after(fields.get("Retry-After"), fields.get("Date"), datetime.now(UTC))
            body_start = await _read_start(response)
    except NO_ANSWER as error:
        failure = _failure_of(error)
    elapsed_ms = round((monotonic() - began_at) * 1_000)
    return Delivery(status, body_start, retry_after_seconds, failure, elapsed_ms)


async def _read_start(response: aiohttp.ClientResponse) -> bytes:
    """The body's beginning. What is left over is never read: the connection is given up for it."""
    read = bytearray()
    with suppress(*NO_ANSWER):
        while len(read) < WEBHOOK_BODY_BYTES and (part := await response.content.read(WEBHOOK_BODY_BYTES - len(read))):
            read += part
    if not response.content.at_eof():
        response.close()
    return bytes(read)


def _failure_of(error: BaseException) -> Failure:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ForbiddenAddress):
        return Failure.FORBIDDEN_ADDRESS
    return next((failure for kind, failure in _FAILURES if isinstance(error, kind)), Failure.CUT_OFF)
