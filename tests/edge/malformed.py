"""Byte streams that somebody might send by mistake or in malice, each made from its number alone."""

import json
import random
from enum import StrEnum
from typing import NamedTuple

from tests.edge.framing_cases import ANSWERED, REFUSED

END_USER_ID = "user_1"
MAX_REQUESTS = 4
MAX_DAMAGES = 3
MAX_PIECES = 5
LINE_ENDS = (b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\0")
JUNK = (
    b"\0",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b":",
    b",",
    b"\xff",
    b"\r\n",
    b"0",
    b"-",
    b"HTTP/1.1",
    b"chunked",
    b"\r\n\r\n",
)
USAGE = b"POST /v1/usage HTTP/1.1"
BATCH = b"POST /v1/usage/batch HTTP/1.1"
CHECK = b"GET /v1/entitlements/check?end_user_id=user_1&feature_key=api_calls&units=%d HTTP/1.1"


class Delivery(StrEnum):
    """How a stream travels; all but the last send their end and read to the edge's."""

    WHOLE = "whole"
    PIECES = "pieces"
    BYTES = "bytes"
    STALLED = "stalled"
    """A part, and then nothing until the other streams are over."""
    RESET = "reset"
    """A part, and then a reset of the connection."""


SHARES = {
    Delivery.WHOLE: 35,
    Delivery.PIECES: 30,
    Delivery.BYTES: 5,
    Delivery.STALLED: 15,
    Delivery.RESET: 15,
}


class Stream(NamedTuple):
    """What is sent over one connection."""

    delivery: Delivery
    pieces: list[bytes]

    @property
    def sent(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)


def make_stream(number: int, key: str, key_of_resets: str) -> Stream:
    """The stream of this number, with an API key; what a reset cuts off has a key of its own."""
    chance = random.Random(number)
    delivery = chance.choices(list(SHARES), list(SHARES.values()))[0]
    author = Author(chance, number, key_of_resets if delivery is Delivery.RESET else key)
    data = b"".join(author.request() for _ in range(chance.randint(1, MAX_REQUESTS)))
    for _ in range(chance.randint(0, MAX_DAMAGES)):
        data = author.damage(data)
    return Stream(delivery, cut(chance, delivery, data))


def cut(chance: random.Random, delivery: Delivery, data: bytes) -> list[bytes]:
    """The pieces in which it is sent."""
    if delivery is Delivery.WHOLE:
        return [data]
    if delivery is Delivery.BYTES:
        singles = min(len(data), 200)
        return [*(data[place : place + 1] for place in range(singles)), data[singles:]]
    if delivery in {Delivery.STALLED, Delivery.RESET}:
        data = data[: chance.randint(0, len(data))]
    places = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(1, MAX_PIECES)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


class Author:
    """Writes requests, and spoils them."""

    def __init__(self, chance: random.Random, number: int, key: str) -> None:
        self._chance = chance
        self._number = number
        self._key = key
        self._count = 0

    def request(self) -> bytes:
        """One request: most of them good, some such as a smuggler sends."""
        self._count += 1
        chance = self._chance
        return chance.choice(
            (
                lambda: chance.choice(REFUSED).sent,
                lambda: chance.choice(ANSWERED)[1],
                lambda: self._head(chance.choice((b"GET", b"HEAD")) + b" /livez HTTP/1.1"),
                lambda: self._head(CHECK % chance.randrange(9)),
                lambda: self._with_length(BATCH, self._batch()),
                lambda: self._with_length(USAGE, self._usage()),
                lambda: self._with_length(USAGE, self._usage(), b"Expect: 100-continue"),
                lambda: self._with_length(USAGE, self._usage(), b"Connection: Upgrade", b"Upgrade: h2c"),
                lambda: self._in_chunks(USAGE, self._usage()),
            )
        )()

    def _head(self, line: bytes, *lines: bytes) -> bytes:
        return b"\r\n".join((line, b"Host: edge", b"Authorization: Bearer " + self._key.encode(), *lines, b"", b""))

    def _with_length(self, line: bytes, body: bytes, *lines: bytes) -> bytes:
        return self._head(line, *lines, b"Content-Length: %d" % len(body)) + body

    def _in_chunks(self, line: bytes, body: bytes) -> bytes:
        chunks = b"1\r\n%b\r\n%x;a=b\r\n%b\r\n0\r\nA: b\r\n\r\n" % (body[:1], len(body) - 1, body[1:])
        return self._head(line, b"Transfer-Encoding: chunked") + chunks

    def _usage(self) -> bytes:
        return json.dumps(self._event()).encode()

    def _batch(self) -> bytes:
        return json.dumps({"events": [self._event(f"-{index}") for index in range(3)]}).encode()

    def _event(self, suffix: str = "") -> dict[str, object]:
        key = f"{self._number}-{self._count}{suffix}"
        return {"end_user_id": END_USER_ID, "feature_key": "lenient", "units": 1, "idempotency_key": key}

    def damage(self, data: bytes) -> bytes:
        """The same with one fault."""
        chance = self._chance
        start, end = sorted(chance.randint(0, len(data)) for _ in range(2))
        end = min(end, start + chance.choice((1, 4, 30, 300)))
        before, between, after = data[:start], data[start:end], data[end:]
        return chance.choice(
            (
                lambda: before + self._flip(between) + after,
                lambda: before + chance.choice(JUNK) + between + after,
                lambda: before + chance.randbytes(len(between)) + after,
                lambda: before + after,
                lambda: before + between * chance.randint(2, 4) + after,
                lambda: before + between,
                lambda: before + self._tail(self.request()) + after,
                lambda: before + between.replace(b"\r\n", chance.choice(LINE_ENDS)) + after,
                lambda: data.replace(b"\r\n", chance.choice(LINE_ENDS), chance.randint(1, 9)),
            )
        )()

    def _flip(self, data: bytes) -> bytes:
        place = self._chance.randrange(len(data)) if data else 0
        return (
            data[:place]
            + bytes(byte ^ (1 << self._chance.randrange(8)) for byte in data[place : place + 1])
            + data[place + 1 :]
        )

    def _tail(self, data: bytes) -> bytes:
        return data[self._chance.randint(0, len(data)) :]
