"""Requests that are sent until they are answered: what passes by waiting is waited for, within a bound."""

import asyncio
import re
import time
from typing import Final, TypeVar

import msgspec

from app.io.outbound import NO_ANSWER, Answer, Session, send
from app.replay.errors import ReplayError

PASSING_STATUSES: Final = frozenset({429, 502, 503, 504})
"""A moment later the same request may be answered. The gateway's two come from a proxy on the way."""

Body = TypeVar("Body")

_FIRST_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 2.0
_MAX_SHOWN: Final = 300
"""Characters of an answer that an error repeats."""
_BASE_URL: Final = re.compile(r"https?://[^/?#\s]+(?:/[^?#\s]*)?")


class Patience:
    """How long one thing is tried again: `seconds` in all, in growing pauses, or as long as the answer asks for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    async def wait(self, trouble: str, retry_after_seconds: int | None = None) -> None:
        """Pause before the next attempt. Raises ReplayError with the trouble where there is no time for one."""
        pause_seconds = self._pause_seconds if retry_after_seconds is None else retry_after_seconds
        if time.monotonic() + pause_seconds > self._deadline:
            raise ReplayError(f"{trouble}; tried for {self._seconds:g} seconds, start again to go on")
        self._pause_seconds = min(2 * self._pause_seconds, _MAX_PAUSE_SECONDS)
        await asyncio.sleep(pause_seconds)


class Client:
    """The API at one address, with one key. Raises ReplayError where these cannot be used."""

    def __init__(self, session: Session, base_url: str, key: str) -> None:
        if not _BASE_URL.fullmatch(base_url):
            raise ReplayError(f"{base_url!r} is no base address; give one such as http://127.0.0.1:8000")
        if not (key and key.isascii() and key.isprintable()):
            raise ReplayError("this is no API key; one begins with qs_test_ or qs_live_")
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    async def send(self, method: str, path: str, body: object, patience: Patience) -> Answer:
        """The answer to a request, which may be sent several times. Raises ReplayError where none comes in time."""
        url = self._base_url + path
        while True:
            try:
                answer = await send(self._session, method, url, headers=self._headers, body=body)
            except NO_ANSWER as error:
                await patience.wait(f"{method} {url} gave no answer: {error!r}")
                continue
            if answer.status not in PASSING_STATUSES:
                return answer
            await patience.wait(describe(method, path, answer), _retry_after_seconds(answer))


def describe(method: str, path: str, answer: Answer) -> str:
    """What an answer says that is not what was hoped for, in one line."""
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
        text = f"{problem.code}: {problem.detail}"
    except msgspec.DecodeError:  # whoever that was, it was not ours
        text = answer.body.decode(errors="replace")
    return f"{method} {path} was answered with {answer.status}: {' '.join(text.split())[:_MAX_SHOWN]}"


def decode(method: str, path: str, answer: Answer, kind: type[Body]) -> Body:
    """The body of an answer. Raises ReplayError where it is something else."""
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.DecodeError as error:
        raise ReplayError(
            f"{method} {path} was answered with {answer.status} and no {kind.__name__}: {error}"
        ) from error


class _Problem(msgspec.Struct):
    code: str
    detail: str


def _retry_after_seconds(answer: Answer) -> int | None:
    """What the answer asks for in seconds; a date, which nothing of ours sends, counts as nothing."""
    text = answer.headers.get("Retry-After", "")
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else None
