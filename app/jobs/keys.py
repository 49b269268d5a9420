"""What edges know of API keys is put right, and when they saw them used is written down.

Core tells edges of a key that ends before it says so. Where Redis was away then, or has lost it since, edges would go
on with what they were told before: so jobs looks at what Redis says of all keys that changed lately.
"""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from app.io.api_keys import forget_uses, forget_wrong_records, list_uses
from app.io.clock import Clock
from app.io.postgres import Database
from app.io.redis import KEY_RECORD_SECONDS, RedisStore
from app.jobs.rounds import Pace, run_rounds
from app.tenants import store
from app.tenants.service import encode_record
from app.tenants.store import ChangedKey

LOOK_SECONDS = 5.0
"""How often changed keys are looked through: as long a key that was revoked while Redis was away may go on after it."""
REACH = timedelta(seconds=KEY_RECORD_SECONDS) + timedelta(hours=1)
"""How long ago a key may have changed. Whatever Redis holds that is older has ended by itself; clocks may differ."""
PAGE = 1_000
NO_KEY = UUID(int=0)
USES_SECONDS = 60.0
"""How often uses are written down."""


class KeyTeller:
    """Looks through changed keys until told to stop. Several may run at once: they take away, and core alone adds."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """A round every LOOK_SECONDS; one that fails is tried again."""
        await run_rounds(self.round, Pace("keys", LOOK_SECONDS), stop)

    async def round(self) -> int:
        """Have edges ask core again of every key of which Redis says something else than Postgres; how many there were.

        Answers 0 where all was as it should be.
        """
        place, count = (self._clock.now() - REACH, NO_KEY), 0
        while changed := await self._list(place):
            count += await forget_wrong_records(self._redis, [(key.digest, _record(key)) for key in changed])
            place = (changed[-1].changed_at, changed[-1].key_id)
        return count

    async def _list(self, after: tuple[datetime, UUID]) -> list[ChangedKey]:
        return await self._database.run(None, partial(store.list_changed_keys, after=after, limit=PAGE))


class UseKeeper:
    """Writes down when edges saw keys used, until told to stop. Several may run at once: the latest use stays."""

    def __init__(self, database: Database, redis: RedisStore) -> None:
        self._database = database
        self._redis = redis

    async def run(self, stop: asyncio.Event) -> None:
        """A round every USES_SECONDS, at once where there was more; one that fails is tried again."""
        await run_rounds(self.round, Pace("key_uses", USES_SECONDS, full_round=PAGE), stop)

    async def round(self) -> int:
        """Write down some of what edges noted; how many."""
        uses = await list_uses(self._redis, PAGE)
        if uses:
            await self._database.run(None, partial(store.note_uses, uses=uses))
            await forget_uses(self._redis, uses)
        return len(uses)


def _record(key: ChangedKey) -> bytes | None:
    if key.is_revoked:
        return None
    return encode_record(key.key_id, (key.environment_id, key.environment_kind), key.scopes, key.expires_at)
