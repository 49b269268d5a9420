"""Expiring reservations that are past due, where somebody meets them before the sweep does (`app.jobs.sweep`)."""

import asyncio
from collections.abc import Sequence

from app.wire import keys, scripts
from app.wire.held import EXPIRY, WHAT_IT_IS, Bounds, Opened, Place, end_arguments, read_opened
from edge.redis import Redis

EXPIRED_AT_ONCE = 100
"""Before a refusal for credit; where more are past due, the opening is asked again."""


async def expire(redis: Redis, opened: Opened, now_at: int, bounds: Bounds) -> bytes:
    """End one that is past due; one that has ended otherwise, or was extended, stays as it is. Raises Refusal.

    The script's answer. It stays open where that is 'miss' (its account is not loaded, which jobs sees to), 'open' or
    'apart' (it is past due by another's clock only).
    """
    arguments = end_arguments(opened, EXPIRY, now_at, bounds)
    reply = await redis.run(scripts.END_RESERVATION, opened.place.script_keys, *arguments)
    return reply[0]


async def expire_members(redis: Redis, partition: int, members: Sequence[bytes], now_at: int, bounds: Bounds) -> bool:
    """End what a partition's `due` has named; whether any of it is named no more. Raises Refusal."""
    return any(await asyncio.gather(*(_expire_member(redis, partition, one, now_at, bounds) for one in members)))


async def _expire_member(redis: Redis, partition: int, member: bytes, now_at: int, bounds: Bounds) -> bool:
    _, ref, facts, reserved = await redis.ask(b"HMGET", keys.reservation_of(partition, member), *WHAT_IT_IS)
    if ref is None:  # it has ended, and was forgotten, since it was named
        await redis.ask(b"ZREM", keys.due(partition), member)
        return True
    opened = read_opened(Place(partition, ref, member), facts, reserved)
    return await expire(redis, opened, now_at, bounds) not in {b"miss", b"open"}
