# Made from _async by scripts/make_sync.py: change it there.
"""Sends requests, as often as it takes, and reads the answers."""

import random
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar, cast

import httpx
import msgspec

from quotastack._sync.waiting import home, sleep, within
from quotastack.calls import Call
from quotastack.errors import (
    UNREACHABLE,
    ClientClosedError,
    QuotaStackError,
    UnreachableError,
    error_of,
    unexpected,
)
from quotastack.retries import Patience, read_retry_after, wait_before_retry
from quotastack.settings import Settings

VERSION = "0.1.0"
CONNECTIONS = 100
Read = TypeVar("Read")


class Answered(NamedTuple, Generic[Read]):
    """What was answered; `is_replayed`: it had been done before, and was not done again."""

    value: Read
    is_replayed: bool


class Transport:
    """Both addresses behind one HTTP client."""

    def __init__(self, settings: Settings, http: httpx.Client | None = None) -> None:
        self._settings = settings
        self._is_borrowed = http is not None
        self._http = http
        self._home: object = None
        """Where its connections live."""
        self._is_closed = False
        self._headers = {
            "Authorization": f"Bearer {settings.api_key}",
            "User-Agent": f"quotastack-python/{VERSION}",
            "Accept": "application/json",
        }

    def _connected(self) -> httpx.Client:
        """The client, made when it is first needed: not every child of a fork sends something.

        Connections of a loop that is over serve no other loop.
        """
        if self._http is None or (self._home is not home() and not self._is_borrowed):
            self._home = home()
            self._http = httpx.Client(limits=httpx.Limits(max_connections=CONNECTIONS), follow_redirects=False)
        return self._http

    def forget(self) -> None:
        """In the child of a fork: the connections are the parent's. A client that was given is the giver's matter."""
        if not self._is_borrowed:
            self._http = None

    def ask(self, call: Call, kind: type[Read], patience: Patience | None = None) -> Answered[Read]:
        """The answer, read as `kind`. Raises QuotaStackError once no further attempt is worth it."""
        self.require_open()
        settings = self._settings
        patience = patience or (settings.check_patience if call.is_check else settings.patience)
        end = monotonic() + patience.in_all
        retries = 0
        while True:
            try:
                return self._try(call, kind, end)
            except QuotaStackError as error:
                seconds = wait_before_retry(error, retries, patience, random.random())  # noqa: S311 - no secret
                if seconds is None or monotonic() + seconds >= end:
                    raise
            retries += 1
            sleep(seconds)

    def require_open(self) -> None:
        """Raises ClientClosedError."""
        if self._is_closed:
            raise ClientClosedError("The client is closed: make another, or close it later.")

    def _try(self, call: Call, kind: type[Read], end: float) -> Answered[Read]:
        response, content = self._send(call, end)
        request_id = response.headers.get("x-request-id")
        retry_after = read_retry_after(response.headers.get("retry-after"))
        if not response.is_success:
            raise error_of(response.status_code, content, request_id, retry_after)
        try:
            value = msgspec.json.decode(content or b"null", type=kind)
        except msgspec.MsgspecError as error:
            detail = f"{call.method} {call.path} was answered with what is no answer of the API: {error}"
            raise unexpected(response.status_code, detail, request_id, retry_after) from error
        return Answered(value, response.headers.get("idempotent-replayed") == "true")

    def _send(self, call: Call, end: float) -> tuple[httpx.Response, bytes]:
        settings = self._settings
        seconds = min(settings.check_timeout if call.is_check else settings.timeout, end - monotonic())
        address = settings.edge_url if call.is_hot else settings.url
        sending = self._connected().stream(
            call.method,
            address + call.path,
            content=call.body,
            params=cast("dict[str, Any] | None", call.query or None),
            headers=self._headers | _headers_of(call),
            timeout=seconds,
        )
        end = monotonic() + seconds
        try:
            with within(seconds), sending as response:
                return response, _read(response, end)
        # A RuntimeError is what a borrowed client says that is closed, or of another loop.
        except (httpx.RequestError, RuntimeError, TimeoutError) as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise UnreachableError(f"{call.method} {address}{call.path}: {what}", code=UNREACHABLE) from error

    def close(self) -> None:
        """End the connections, where they are ours. Nothing is sent any more."""
        self._is_closed = True
        if self._http is not None and not self._is_borrowed and self._home is home():
            self._http.close()


def _read(response: httpx.Response, end: float) -> bytes:
    """The body. Raises TimeoutError where it comes so slowly that it is not there in time."""
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if monotonic() > end:
            raise TimeoutError("the answer comes too slowly")
    return bytes(content)


def _headers_of(call: Call) -> dict[str, str]:
    headers: dict[str, str] = {}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if call.key is not None:
        headers["Idempotency-Key"] = call.key
    return headers
