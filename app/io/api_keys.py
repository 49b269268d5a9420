"""API keys in Redis for jobs: records that are wrong, and when edges saw keys used."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from app.io.redis import RedisStore
from app.wire import keys


class KeyUse(msgspec.Struct, frozen=True):
    """When an edge saw a key used."""

    environment_id: UUID
    key_id: UUID
    used_at: int


async def forget_wrong_records(redis: RedisStore, expected: Sequence[tuple[bytes, bytes | None]]) -> int:
    """Have edges ask core again of keys of which Redis says something else than it should; how many there were.

    `expected` are digests and the records that belong to them; None = none, for the key has ended.
    """
    reading = redis.client.pipeline(transaction=False)
    for digest, _ in expected:
        reading.get(keys.api_key(digest))
    found = zip(expected, await reading.execute(), strict=True)
    wrong = [digest for (digest, record), content in found if content not in (None, keys.UNKNOWN_KEY, record)]
    if wrong:
        forgetting = redis.client.pipeline(transaction=False)
        for digest in wrong:
            forgetting.delete(keys.api_key(digest))
        await forgetting.execute()
    return len(wrong)


async def list_uses(redis: RedisStore, page: int) -> list[KeyUse]:
    """Uses that edges noted, those of longest ago first."""
    found = await redis.client.zrange(keys.KEY_USES, 0, page - 1, withscores=True)
    return [KeyUse(*keys.parse_key_use(member), int(used_at)) for member, used_at in found]


async def forget_uses(redis: RedisStore, uses: Sequence[KeyUse]) -> None:
    """Take out uses that are written down; one that was noted since then too: the next comes within a minute."""
    if uses:
        members = [keys.key_use(use.environment_id, use.key_id) for use in uses]
        await redis.client.zrem(keys.KEY_USES, *members)
