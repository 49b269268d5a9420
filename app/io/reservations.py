"""Reservations in Redis for core and jobs: putting one back, and expiring what is past due."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from app.io.redis import RedisStore
from app.wire import ids, keys, scripts
from app.wire.held import (
    EXPIRY,
    WHAT_IT_IS,
    Bounds,
    EndedReservation,
    Opened,
    Place,
    end_arguments,
    read_opened,
    restored_fields,
)
from app.wire.reservations import ReservationState

NO_BOUND = 2**53
"""An expiry takes no credit, so nothing of it is bounded by how long the stream is."""


class Expiry(msgspec.Struct, frozen=True):
    """What became of a reservation that was past due."""

    partition: int
    member: bytes
    ref: bytes
    answer: str
    """'ok' (expired now) | 'miss' (its account is not loaded) | 'open' (extended meanwhile)
    | 'apart' (due by its test clock only) | 'again' | 'ended'."""


async def put_ended_reservation(redis: RedisStore, ended: EndedReservation, seconds: int) -> str:
    """Put a finished reservation back for a while: 'restored' | 'present'."""
    environment = ended.ref[: keys.ENVIRONMENT_REF_LENGTH]
    key = keys.reservation(redis.partition(ended.ref), environment, ended.reservation_id)
    arguments = [seconds * 1_000, *restored_fields(ended)]
    return (await redis.run(scripts.RESTORE_RESERVATION, [key], arguments)).decode()


async def is_committed(redis: RedisStore, environment_id: UUID, reservation_id: UUID) -> bool:
    """Whether Redis remembers a commit of the reservation, in time or late; an id of anything else names none."""
    partition = ids.partition_in(reservation_id)
    if partition >= redis.agreement.partitions:
        return False
    name = keys.reservation(partition, keys.environment_ref(environment_id), reservation_id)
    state, late = await redis.client.hmget(name, "state", "late")
    return state == ReservationState.COMMITTED.encode() or late is not None


async def list_due(redis: RedisStore, partitions: Sequence[int], now_at: int, page: int) -> list[tuple[int, bytes]]:
    """(partition, member of `due`) of what is past due, of each partition at most `page`."""
    pipe = redis.client.pipeline(transaction=False)
    for partition in partitions:
        pipe.zrangebyscore(keys.due(partition), "-inf", now_at, start=0, num=page)
    pages = zip(partitions, await pipe.execute(), strict=True)
    return [(partition, member) for partition, members in pages for member in members]


async def expire(redis: RedisStore, due: Sequence[tuple[int, bytes]], now_at: int) -> list[Expiry]:
    """End reservations that are past due at `now_at`."""
    reading = redis.client.pipeline(transaction=False)
    for partition, member in due:
        reading.hmget(keys.reservation_of(partition, member), WHAT_IT_IS)
    refs: list[bytes | None] = []
    pipe = redis.client.pipeline(transaction=False)
    pipe.script_load(scripts.END_RESERVATION.text)  # so that no call halfway through finds it missing
    for (partition, member), (_, ref, facts, reserved) in zip(due, await reading.execute(), strict=True):
        if ref is None:  # it has ended, and was forgotten, since it was listed
            pipe.zrem(keys.due(partition), member)
        else:
            opened = read_opened(Place(partition, ref, member), facts, reserved)
            _expire(pipe, redis, opened, now_at)
        refs.append(ref)
    answers = (await pipe.execute())[1:]
    return [
        Expiry(partition, member, ref, answer[0].decode())
        for (partition, member), ref, answer in zip(due, refs, answers, strict=True)
        if ref is not None
    ]


async def forget(redis: RedisStore, expiry: Expiry) -> None:
    """Take what is nobody's out of what is due."""
    await redis.client.zrem(keys.due(expiry.partition), expiry.member)


def _expire(pipe: Any, redis: RedisStore, opened: Opened, now_at: int) -> None:  # noqa: ANN401 - redis-py types little
    bounds = Bounds(redis.agreement.idempotency_window_seconds * 1_000, NO_BOUND)
    script_keys, arguments = opened.place.script_keys, end_arguments(opened, EXPIRY, now_at, bounds)
    pipe.evalsha(scripts.END_RESERVATION.digest.decode(), len(script_keys), *script_keys, *arguments)
