"""How far the ledger is behind the stream, as Redis tells it: whoever posts, and also where nobody does."""

from datetime import datetime
from math import nan

import msgspec

from app.io import metrics
from app.io.redis import RedisStore, RedisUnavailable
from app.rules.moments import to_at
from app.wire import keys
from app.wire.events import parse_stream_id, show_stream_id

_LAG = metrics.gauge(
    "quotastack_flush_lag_seconds", "Age of the oldest entry of any stream that is not posted and published"
)
_ENTRIES = metrics.gauge("quotastack_stream_entries", "Entries that all streams hold, posted ones among them")
_LONGEST = metrics.gauge("quotastack_stream_longest_entries", "Entries of the longest stream: its bound is per stream")
_NOWHERE = b"0-0"


class Lag(msgspec.Struct, frozen=True):
    """Of all partitions together."""

    milliseconds: int
    """Age of the oldest entry that is not posted and published; 0 = all are."""
    entries: int
    longest: int
    """Entries of the longest stream."""


async def read_lag(redis: RedisStore, now: datetime) -> Lag:
    """What waits in the streams at this moment. Raises RedisUnavailable."""
    partitions = range(redis.agreement.partitions)
    asking = redis.client.pipeline(transaction=False)
    for partition in partitions:
        asking.hget(keys.meta(partition), "published")
    published = [parse_stream_id(answer or _NOWHERE) for answer in await asking.execute()]
    looking = redis.client.pipeline(transaction=False)
    for partition in partitions:
        looking.xrange(keys.stream(partition), f"({show_stream_id(published[partition])}", count=1)
        looking.xlen(keys.stream(partition))
    answers = await looking.execute()
    oldest = [parse_stream_id(first[0][0])[0] for first in answers[::2] if first]
    lengths = answers[1::2]
    return Lag(max(0, to_at(now) // 1000 - min(oldest)) if oldest else 0, sum(lengths), max(lengths))


async def refresh_lag(redis: RedisStore, now: datetime) -> None:
    """Bring the figures up to date; where Redis is away, they are no numbers."""
    try:
        lag = await read_lag(redis, now)
    except RedisUnavailable:  # that is told by readiness, and by what fails for want of it
        seconds, entries, longest = nan, nan, nan
    else:
        seconds, entries, longest = lag.milliseconds / 1000, lag.entries, lag.longest
    _LAG.set(seconds)
    _ENTRIES.set(entries)
    _LONGEST.set(longest)
