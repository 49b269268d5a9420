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
from app.io.redis import LoadBegun, RedisStore
from app.wire import keys

WAIT_SECONDS = 2.0
"""How long a load waits for the flusher before it answers busy."""

Outcome = Literal["loaded", "unknown", "busy"]


async def load_account(database: Database, redis: RedisStore, environment_id: UUID, end_user_id: str) -> Outcome:
    """Bring a customer's account into Redis. 'unknown' is answered before any wait; 'busy' = ask again later."""
    ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
    partition = redis.partition(ref)

    async def read(tx: Transaction) -> LoadableAccount | None:
        return await store.read_account_at_cursor(tx, environment_id, end_user_id, partition)

    if await database.run(environment_id, read) is None:
        return "unknown"
    begun: LoadBegun | str = await redis.begin_load(ref, new_token())
    async for _ in pauses(WAIT_SECONDS):
        if begun == "loaded":
            return "loaded"
        if isinstance(begun, LoadBegun):
            row = await database.run(environment_id, read)
            if row is None or not row.has_drained(begun):
                continue  # the same load goes on: a new one would have a later stream end to wait for
            if await redis.finish_load(begun, row.account.state, holds=row.holds) != "refused":
                return "loaded"
        begun = await redis.begin_load(ref, new_token())
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
