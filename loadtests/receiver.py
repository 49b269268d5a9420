"""Somebody's server for webhooks: `python -m loadtests.receiver PORT`. Endpoints by path, each behaving as it is told.

It checks signatures with the library that receivers use, remembers all that came, and is told and asked over paths of
its own (loadtests/receiving.py).
"""

import asyncio
import signal
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
import uvloop
from standardwebhooks import Webhook, WebhookVerificationError

CONTROL = "/control/"
ENDPOINTS, RECEIVED, COUNTS = f"{CONTROL}endpoints", f"{CONTROL}received", f"{CONTROL}counts"
MICRO = 1_000_000


class Ending(StrEnum):
    """How an answer ends."""

    WHOLE = "whole"
    CUT = "cut"
    """Half-way through its head."""
    NEVER = "never"
    """It does not come; the connection stays."""


class Behaviour(msgspec.Struct, frozen=True):
    """What an endpoint does with what comes. `times` = for so many requests, and then it takes everything."""

    status: int = HTTPStatus.OK
    delay_seconds: float = 0
    retry_after: str | None = None
    ending: Ending = Ending.WHOLE
    times: int | None = None


TAKES = Behaviour()


class Endpoint(msgspec.Struct):
    """A path. What is signed with none of `secrets` is refused; without any everything is taken for signed."""

    secrets: list[str] = []
    behaviour: Behaviour = TAKES


class Received(msgspec.Struct, frozen=True, array_like=True):
    """A request as it came. Moments in microseconds of this machine's clock."""

    path: str
    id: str
    end_user_id: str | None
    sequence: int
    type: str
    at: int
    told_at: int
    """The timestamp in the body."""
    status: int
    """That it is answered with; 0 where the answer does not come whole."""
    is_genuine: bool


class Counts(msgspec.Struct, frozen=True):
    """How many requests came, and how many of them were not signed as they should be."""

    received: int
    forged: int


class _Told(msgspec.Struct, frozen=True):
    type: str
    timestamp: datetime
    end_user_id: str | None
    sequence: int


class Receiver:
    """All endpoints, and what came to them."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}
        self._verifiers: dict[str, Webhook] = {}
        self._received: list[Received] = []
        self._forged = 0
        self._decoder = msgspec.json.Decoder(_Told)

    def control(self, path: str, body: bytes) -> bytes:
        """Do what a control path asks for: endpoints are set, what was received is told from a number on."""
        if path == ENDPOINTS:
            self._endpoints |= msgspec.json.decode(body, type=dict[str, Endpoint])
            return b""
        if path == RECEIVED:
            return msgspec.json.encode(self._received[int(body) :])
        return msgspec.json.encode(Counts(len(self._received), self._forged))

    def receive(self, path: str, headers: Mapping[str, str], body: bytes) -> Behaviour:
        """Remember a webhook; how it is answered."""
        endpoint = self._endpoints.setdefault(path, Endpoint())
        is_genuine = self._is_genuine(endpoint, headers, body)
        self._forged += not is_genuine
        behaviour = self._next(endpoint) if is_genuine else Behaviour(HTTPStatus.UNAUTHORIZED)
        told = self._decoder.decode(body)
        self._received.append(
            Received(
                path,
                headers.get("webhook-id", ""),
                told.end_user_id,
                told.sequence,
                told.type,
                time.time_ns() // 1_000,
                round(told.timestamp.timestamp() * MICRO),
                behaviour.status if behaviour.ending == Ending.WHOLE else 0,
                is_genuine,
            )
        )
        return behaviour

    def _is_genuine(self, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> bool:
        return not endpoint.secrets or any(self._verifies(secret, headers, body) for secret in endpoint.secrets)

    def _verifies(self, secret: str, headers: Mapping[str, str], body: bytes) -> bool:
        verifier = self._verifiers.setdefault(secret, Webhook(secret))
        try:
            verifier.verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError:
            return False
        return True

    def _next(self, endpoint: Endpoint) -> Behaviour:
        behaviour = endpoint.behaviour
        if behaviour.times is None:
            return behaviour
        if behaviour.times <= 0:
            return TAKES
        endpoint.behaviour = msgspec.structs.replace(behaviour, times=behaviour.times - 1)
        return behaviour


class Connection(asyncio.Protocol):
    """One client, which waits for an answer before it asks again."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._transport: Any = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._path, self._headers, self._body = "", dict[str, str](), b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read what it sends; hang up on what is no HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._path, self._headers, self._body = "", {}, b""

    def on_url(self, url: bytes) -> None:
        """Its target, or a part of that."""
        self._path += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """All of it is there."""
        if self._path.startswith(CONTROL):
            self._send(_answer(HTTPStatus.OK, self._receiver.control(self._path, self._body)))
            return
        behaviour = self._receiver.receive(self._path, self._headers, self._body)
        if behaviour.delay_seconds:
            asyncio.get_running_loop().call_later(behaviour.delay_seconds, self._behave, behaviour)
        else:
            self._behave(behaviour)

    def _behave(self, behaviour: Behaviour) -> None:
        if behaviour.ending == Ending.NEVER or self._transport.is_closing():
            return
        answer = _answer(behaviour.status, b"", behaviour.retry_after)
        if behaviour.ending == Ending.WHOLE:
            self._send(answer)
            return
        self._send(answer[: len(answer) // 2])
        self._transport.close()

    def _send(self, answer: bytes) -> None:
        self._transport.write(answer)


def _answer(status: int, body: bytes, retry_after: str | None = None) -> bytes:
    asked = "" if retry_after is None else f"Retry-After: {retry_after}\r\n"
    return f"HTTP/1.1 {status} Answer\r\n{asked}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def serve(port: int) -> None:
    """Until SIGTERM."""
    receiver, stop = Receiver(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(partial(Connection, receiver), "127.0.0.1", port, backlog=4_096)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
