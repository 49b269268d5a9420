"""Accounts of a partition as Redis has them, beside what of its stream the ledger has not read: all at one moment."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from app.io.redis import AccountView, RedisStore, view_of
from app.wire import keys
from app.wire.events import parse_entry, parse_stream_id, show_stream_id
from app.wire.snapshot import ACCOUNT_FIELDS

StreamId = tuple[int, int]


class Unreadable(msgspec.Struct, frozen=True):
    """An account whose figures are none: somebody has written into Redis."""

    why: str


class EdgeAccounts(msgspec.Struct, frozen=True):
    """What was seen of a partition."""

    incarnation: UUID | None
    """Whose memory it is; None = nobody has named it."""
    published: StreamId
    views: list[AccountView | Unreadable | None]
    """Of the customers that were asked for, in their order; None = not loaded."""
    costs_micro: dict[bytes, int] | None
    """Costs of the entries after the position, by customer; None = some are gone already, or there are too many."""


async def read_edge_accounts(
    redis: RedisStore, partition: int, refs: Sequence[bytes], after: StreamId, most_entries: int
) -> EdgeAccounts:
    """Accounts of one partition, and the entries after a position of its stream. Raises RedisUnavailable."""
    pipe = redis.client.pipeline(transaction=True)
    pipe.hmget(keys.meta(partition), "incarnation", "published")
    pipe.xrange(keys.stream(partition), count=1)
    pipe.xrange(keys.stream(partition), f"({show_stream_id(after)}", "+", count=most_entries + 1)
    for ref in refs:
        pipe.hmget(keys.account(partition, ref), ACCOUNT_FIELDS)
    (incarnation, published), oldest, entries, *accounts = await pipe.execute()
    published_to = parse_stream_id(published or b"0-0")
    # Entries go once they are published, the oldest first.
    is_whole = published_to <= after or (bool(oldest) and parse_stream_id(oldest[0][0]) <= after)
    costs: dict[bytes, int] = {}
    for stream_id, fields in entries:
        entry = parse_entry(stream_id, fields)
        costs[entry.ref] = costs.get(entry.ref, 0) + entry.cost_micro
    return EdgeAccounts(
        None if incarnation is None else UUID(hex=incarnation.decode()),
        published_to,
        [_view_of(values) for values in accounts],
        costs if is_whole and len(entries) <= most_entries else None,
    )


async def read_touched(redis: RedisStore, after: Sequence[StreamId], count: int) -> list[tuple[StreamId, set[bytes]]]:
    """Of each partition, its next entries after a position: where the last of them is, and whose they are."""
    pipe = redis.client.pipeline(transaction=False)
    for partition, position in enumerate(after):
        pipe.xrange(keys.stream(partition), f"({show_stream_id(position)}", "+", count=count)
    pages = await pipe.execute()
    return [
        (parse_stream_id(page[-1][0]) if page else position, {fields.get(b"a", b"") for _, fields in page})
        for page, position in zip(pages, after, strict=True)
    ]


def _view_of(values: list[bytes | None]) -> AccountView | Unreadable | None:
    try:
        return view_of(values)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        return Unreadable(str(error))
