"""Lists come in pages: `?limit=&cursor=` in, `{"data": […], "next_cursor": …}` out. A cursor is opaque to clients."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from app.errors import ServiceError, invalid_value

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


class Listing(Generic[Position]):
    """A list that is read in pages. Its cursors name it, so that none is taken for a place in another list."""

    def __init__(self, name: str, position: type[Position]) -> None:
        """`position` is what a page starts after."""
        self._name = name
        self._position = position

    def page(
        self, rows: Sequence[Row], limit: int, show: Callable[[Row], Item], position: Callable[[Row], Position]
    ) -> Page[Item]:
        """A page of `rows`, of which one more than `limit` was read to see whether there is another page."""
        shown = rows[:limit]
        next_cursor = self.encode(position(shown[-1])) if len(rows) > limit else None
        return Page([show(row) for row in shown], next_cursor)

    def encode(self, position: Position) -> str:
        """A place in the list as text."""
        return write_cursor((self._name, position))

    def decode(self, cursor: str | None) -> Position | None:
        """The place behind a cursor; None for the first page. Raises ServiceError(INVALID_VALUE)."""
        if cursor is None:
            return None
        try:
            name, position = msgspec.msgpack.decode(read_cursor(cursor), type=tuple[str, msgspec.Raw])
            if name == self._name:
                return msgspec.msgpack.decode(position, type=self._position)
        except ValueError as error:
            raise _not_of_this_list() from error
        raise _not_of_this_list()


def write_cursor(content: object) -> str:
    """What a cursor says as text."""
    return urlsafe_b64encode(msgspec.msgpack.encode(content)).rstrip(b"=").decode()


def read_cursor(cursor: str) -> bytes:
    """What a cursor says, as it was encoded. Raises ValueError."""
    return urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))


def _not_of_this_list() -> ServiceError:
    return invalid_value("cursor", "is not a next_cursor of this list")
