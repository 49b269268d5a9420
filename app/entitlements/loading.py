"""Loading an account into Redis on demand.

What is read must include everything that is in the stream, since `accepted` starts at `applied`: so the load waits
until the cursor has passed the stream's end, and its token makes it start again where anything happened meanwhile.
"""

from typing import Literal
from uuid import UUID

from app.entitlements import store
from app.entitlements.publishing import new_token
from app.entitlements.store import LoadableAccount
from app.io.pauses import pauses
from app.io.postgres import Database, Transaction
from app.io.redis import LoadBegun, RedisStore, StreamEnd
from app.io.reservations import put_ended_reservation
from app.ledger import store as ledger_store
from app.ledger.store import PartitionCursor
from app.reservations import store as reservations_store
from app.reservations.store import KnownReservation
from app.wire import keys
from app.wire.held import EndedReservation
from app.wire.ids import partition_in

ENDED_SECONDS = 60
"""How long a reservation that has ended stays in Redis for those who ask about it again."""
WAIT_SECONDS = 2.0
"""How long a load waits for the flusher before it answers busy."""

Outcome = Literal["loaded", "unknown", "busy"]


async def load_account(
    database: Database, redis: RedisStore, environment_id: UUID, end_user_id: str, *, wait_seconds: float = WAIT_SECONDS
) -> Outcome:
    """Bring a customer's account into Redis. 'unknown' is answered before any wait; 'busy' = ask again later."""
    ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
    partition = redis.partition(ref)

    async def read(tx: Transaction) -> LoadableAccount | None:
        return await store.read_account_at_cursor(tx, environment_id, end_user_id, partition)

    if await database.run(environment_id, read, isolation="repeatable_read") is None:
        return "unknown"
    begun: LoadBegun | str = await redis.begin_load(ref, new_token())
    async for _ in pauses(wait_seconds):
        if begun == "loaded":
            return "loaded"
        if isinstance(begun, LoadBegun):
            row = await database.run(environment_id, read, isolation="repeatable_read")
            if row is None or not row.has_drained(begun):
                continue  # the same load goes on: a new one would have a later stream end to wait for
            if await redis.finish_load(begun, row.account.state, row.reservations, row.holds) != "refused":
                return "loaded"
        begun = await redis.begin_load(ref, new_token())
    return "busy"


async def load_reservation(
    database: Database, redis: RedisStore, environment_id: UUID, reservation_id: UUID
) -> Outcome:
    """Bring a reservation into Redis: an open one with its account, one that has ended for a while.

    'unknown' where the ledger has none of this id, and nothing is in the stream that could open it.
    """
    known = await _find_reservation(database, redis, environment_id, reservation_id)
    if not isinstance(known, KnownReservation):
        return known
    if known.ending is None:
        return await load_account(database, redis, environment_id, known.end_user_id)
    view = await redis.read_account(environment_id, known.end_user_id)
    ended = EndedReservation(
        reservation_id,
        keys.account_ref(keys.environment_ref(environment_id), known.end_user_id),
        known.facts,
        known.reserved_micro,
        known.due_at,
        known.ending,
        known.late,
        known.total_micro if view is None else view.available_micro,
        known.period_at,
    )
    await put_ended_reservation(redis, ended, ENDED_SECONDS)
    return "loaded"


async def _find_reservation(
    database: Database, redis: RedisStore, environment_id: UUID, reservation_id: UUID
) -> KnownReservation | Literal["unknown", "busy"]:
    """What the ledger knows of it, once everything is posted that was in the stream when it was asked for.

    A new incarnation drops what is open from Redis, and the opening may still be on its way to the ledger, also of one
    that has ended there when it was opened before.
    """
    partition = partition_in(reservation_id)

    async def read(tx: Transaction) -> tuple[PartitionCursor, KnownReservation | None]:
        cursor = await ledger_store.read_cursor(tx, partition)  # first: what it has passed, the other statement sees
        return cursor, await reservations_store.read_known(tx, environment_id, reservation_id)

    if partition >= redis.agreement.partitions:
        return "unknown"
    end: StreamEnd | None = None
    async for _ in pauses(WAIT_SECONDS):
        cursor, known = await database.run(environment_id, read)
        if known is not None and known.ending is None:
            return known
        if end is None or end.incarnation != cursor.incarnation:
            end = await redis.read_stream_end(partition)
        if cursor.has_passed(end):
            return known or "unknown"
    return "busy"


async def load_plan(database: Database, redis: RedisStore, environment_id: UUID, snapshot_id: str) -> Outcome:
    """Bring a plan snapshot into Redis."""

    async def read(tx: Transaction) -> bytes | None:
        return await store.read_snapshot(tx, environment_id, snapshot_id)

    content = await database.run(environment_id, read)
    if content is None:
        return "unknown"
    await redis.put_plan(snapshot_id, content)
    return "loaded"
