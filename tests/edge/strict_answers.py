"""What an edge sent over one connection, read by the letter of HTTP."""

import re
from typing import Any, NamedTuple

import msgspec

from app.wire.codes import MEANINGS, Code
from app.wire.problem import CONTENT_TYPE

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n((?:[A-Za-z-]+: [\x20-\x7e]*\r\n)*)\r\n")
_LINE = re.compile(rb"([A-Za-z-]+): (.*)\r\n")
CONTINUE = 100


class NotHttp(AssertionError):
    """The edge sent something else than HTTP answers with problem documents."""


class StrictAnswer(NamedTuple):
    """One final answer; the body is None where it answers a HEAD."""

    status: int
    headers: dict[bytes, bytes]
    body: Any


def read_answers(data: bytes, *, may_be_heads: bool) -> list[StrictAnswer]:
    """All final answers. Raises NotHttp at the first byte that does not belong to one."""
    answers: list[StrictAnswer] = []
    while data:
        found = _HEAD.match(data)
        if found is None:
            raise NotHttp(f"no head of an answer: {data[:200]!r}")
        status, data = int(found[1]), data[found.end() :]
        if status == CONTINUE and not found[2]:
            continue
        lines = _LINE.findall(found[2])
        headers = dict(lines)
        if len(headers) != len(lines) or not headers.keys() >= {b"Content-Length", b"X-Request-Id"}:
            raise NotHttp(f"a header is missing or repeated: {found[0]!r}")
        length = int(headers[b"Content-Length"])
        body = None if may_be_heads and (not data or data.startswith(b"HTTP/1.1 ")) else data[:length]
        if body is not None and len(body) < length:
            raise NotHttp(f"{len(body)} of {length} bytes: {body!r}")
        data = data if body is None else data[length:]
        answers.append(StrictAnswer(status, headers, None if body is None else msgspec.json.decode(body)))
        _look_at(answers[-1], is_last=not data)
    return answers


def _look_at(answer: StrictAnswer, *, is_last: bool) -> None:
    if answer.headers.get(b"Connection") == b"close" and not is_last:
        raise NotHttp(f"something follows the last answer: {answer}")
    if 200 <= answer.status < 300:
        return
    if answer.headers[b"Content-Type"] != CONTENT_TYPE.encode():
        raise NotHttp(f"no problem document: {answer}")
    if answer.body is not None:
        code = Code(answer.body["code"])
        if (answer.status, answer.body["status"], answer.body["title"]) != (MEANINGS[code].status, *MEANINGS[code]):
            raise NotHttp(f"not what the code means: {answer}")


def event_ids(answer: StrictAnswer) -> list[str]:
    """The events that an answer acknowledges."""
    if answer.status != 202:
        return []
    results = answer.body.get("results", [answer.body])
    return [result["event_id"] for result in results if result.get("status", "accepted") == "accepted"]
