"""Lists come in pages: `?limit=&cursor=` in, `{"data": […], "next_cursor": …}` out. A cursor is opaque to clients."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from app.errors import invalid_value

Item = TypeVar("Item")
Row = TypeVar("Row")
Position = TypeVar("Position")

MAX_LIMIT = 1000
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Most items of the page.")]
Cursor = Annotated[str | None, QueryParameter(max_length=1024, description="`next_cursor` of the page before.")]


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """A page of a list; `next_cursor` is null on the last."""

    data: list[Item]
    next_cursor: str | None


def page(rows: Sequence[Row], limit: int, show: Callable[[Row], Item], position: Callable[[Row], Any]) -> Page[Item]:
    """A page of `rows`, of which one more than `limit` was read to see whether there is another page.

    `position` gives what the next page starts after.
    """
    shown = rows[:limit]
    next_cursor = encode_cursor(position(shown[-1])) if len(rows) > limit else None
    return Page([show(row) for row in shown], next_cursor)


def encode_cursor(position: object) -> str:
    """A place in a list as text."""
    return urlsafe_b64encode(msgspec.msgpack.encode(position)).rstrip(b"=").decode()


def decode_cursor(cursor: str | None, kind: type[Position]) -> Position | None:
    """The place behind a cursor; None for the first page. Raises ServiceError(INVALID_VALUE)."""
    if cursor is None:
        return None
    try:
        content = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        return msgspec.msgpack.decode(content, type=kind)
    except ValueError as error:
        raise invalid_value("cursor", "is not a next_cursor of this list") from error
