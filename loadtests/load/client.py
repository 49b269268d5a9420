"""The API as the probes and the auditor use it: a request is sent until it is answered, under the same key."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from app.io.outbound import NO_ANSWER, Answer, Session, open_session, send
from app.replay.client import PASSING_STATUSES, Patience
from app.replay.errors import ReplayError
from app.wire.codes import MEANINGS
from loadtests.load.judging import Answer as Judged
from loadtests.load.judging import is_passing, is_without_figures, read

REQUEST_SECONDS = 10
PATIENCE_SECONDS = 60
"""For one request, with all its attempts: a killed process is long back by then."""
CONNECTIONS = 500
PAGE_ROWS = 1_000
SETTLE_SECONDS = 60
RETRY_SECONDS = 0.1
"""Before what was left of a batch is sent again."""
PASSING_CODES = frozenset(code.value for code, meaning in MEANINGS.items() if meaning.status in PASSING_STATUSES)
"""Of an event of a batch that may be accepted a moment later."""

Value = TypeVar("Value")


class NoAnswer(Exception):
    """A request was not answered, or something did not come about, in the time that it may take."""


class Api(Protocol):
    """One base URL with one key. Raises NoAnswer."""

    async def send(self, method: str, path: str, body: object = None, key: str | None = None) -> Judged:
        """The answer to a request; `key` is its idempotency key, where the body has none."""
        ...


class HttpApi:
    """The real one."""

    def __init__(self, session: Session, base_url: str, api_key: str) -> None:
        self._session = session
        self._base_url = base_url
        self._api_key = api_key

    async def send(self, method: str, path: str, body: object = None, key: str | None = None) -> Judged:
        """Send until an answer comes that is more than: later. Of usage, with its figures."""
        headers = {"Authorization": f"Bearer {self._api_key}"} | ({"Idempotency-Key": key} if key else {})
        patience = Patience(PATIENCE_SECONDS)
        while True:
            try:
                answer = await send(self._session, method, self._base_url + path, headers=headers, body=body)
            except NO_ANSWER as error:
                await _pause(patience, f"{method} {path} gave no answer: {error!r}")
                continue
            is_later = is_passing(answer.status, answer.body) or is_without_figures(answer.status, answer.body)
            if answer.status not in PASSING_STATUSES and not is_later:
                return _judged(answer)
            await _pause(patience, f"{method} {path} was answered with {answer.status}")


@asynccontextmanager
async def open_api(base_url: str, api_key: str) -> AsyncIterator[HttpApi]:
    """The API over connections of its own."""
    async with open_session(total_seconds=REQUEST_SECONDS, connections=CONNECTIONS) as session:
        yield HttpApi(session, base_url, api_key)


async def created(api: Api, path: str, body: object, key: str | None = None) -> Any:  # noqa: ANN401 - its JSON
    """The body of what has to be made. Raises Wrong."""
    return read(await api.send("POST", path, body, key), 201)


async def pages(api: Api, path: str) -> list[Any]:
    """All rows of a list; `path` has a query. Raises Wrong."""
    rows: list[Any] = []
    cursor = ""
    while True:
        page = read(await api.send("GET", f"{path}&limit={PAGE_ROWS}{cursor}"), 200)
        rows += page["data"]
        if page["next_cursor"] is None:
            return rows
        cursor = f"&cursor={page['next_cursor']}"


async def until(look: Callable[[], Awaitable[Value | None]], what: str, seconds: float = SETTLE_SECONDS) -> Value:
    """The first true answer. Raises NoAnswer naming `what` where there is none in time."""
    patience = Patience(seconds)
    while not (value := await look()):
        await _pause(patience, f"waited in vain for {what}")
    return value


async def _pause(patience: Patience, trouble: str) -> None:
    try:
        await patience.wait(trouble)
    except ReplayError as error:
        raise NoAnswer(f"{trouble}, and there was no time to go on") from error


def _judged(answer: Answer) -> Judged:
    return Judged(answer.status, answer.body, answer.headers.get("Idempotent-Replayed") == "true")
