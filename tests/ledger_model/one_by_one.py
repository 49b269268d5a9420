"""Flushers: how entries are cut into transactions of the ledger. Each is run under the same tests.

One entry, one transaction is the obvious one, which a reader can follow; the batches are what the product does.
"""

from collections.abc import Callable, Iterable, Iterator

from app.wire.events import StreamEntry
from tests.ledger_model.rows import Rows

Flusher = Callable[[Rows, list[StreamEntry], int], Iterator[list[StreamEntry]]]
"""Posts entries in stream order, the number says how many at once; yields what each transaction has posted."""


def post_one_by_one(rows: Rows, entries: Iterable[StreamEntry], _size: int) -> Iterator[list[StreamEntry]]:
    """The obvious one, whatever size is asked for."""
    for entry in entries:
        rows.post([entry])
        yield [entry]


def post_in_batches(rows: Rows, entries: list[StreamEntry], size: int) -> Iterator[list[StreamEntry]]:
    """As the product's flusher does."""
    for start in range(0, len(entries), size):
        batch = entries[start : start + size]
        rows.post(batch)
        yield batch


FLUSHERS: dict[str, Flusher] = {"in batches": post_in_batches, "one by one": post_one_by_one}
