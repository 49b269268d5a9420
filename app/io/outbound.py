"""HTTP that goes out from here: the only importer of aiohttp in `app`."""

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec

Session = aiohttp.ClientSession

# What a request raises when no answer came: refused, cut off, too slow.
NO_ANSWER: Final = (aiohttp.ClientError, TimeoutError)

_CONNECT_SECONDS: Final = 5
_CONNECTIONS: Final = 100


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
