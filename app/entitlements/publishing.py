"""Bringing what the ledger knows to the edge, after the commit and before core answers.

Where Redis cannot be reached, what was added stands and its mark stays; the flusher's publisher delivers it.
"""

from collections.abc import Sequence
from secrets import token_bytes
from uuid import UUID

import structlog

from app.entitlements import composing, store
from app.entitlements.store import PublishedAccount
from app.io.clock import Clock
from app.io.postgres import Database, Transaction, TransactionHooks
from app.io.redis import RedisStore, RedisUnavailable
from app.wire.snapshot import AccountState

log = structlog.get_logger()
PUBLISH_CHUNK = 5_000
"""Accounts that are read and published together."""
TOKEN_BYTES = 12


def new_token() -> bytes:
    """A load token that no other load has."""
    return token_bytes(TOKEN_BYTES)


class Publisher:
    """Composes before commit and publishes after it, for every transaction of a `Database` that has its hooks."""

    def __init__(self, redis: RedisStore, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._database: Database | None = None

    def hooks(self) -> TransactionHooks:
        """What the database calls around the commit."""
        return TransactionHooks(self._before_commit, self._after_commit)

    def attach(self, database: Database) -> None:
        """The database whose transactions these hooks belong to; publishing reads from it."""
        self._database = database

    async def _before_commit(self, tx: Transaction) -> None:
        await composing.compose_marked(tx, self._clock.now())

    async def _after_commit(self, environment_id: UUID, marked: frozenset[UUID]) -> None:
        if self._database is None:
            message = "the publisher has no database: call attach() first"
            raise RuntimeError(message)
        try:
            await publish_accounts(
                self._database, self._redis, environment_id, [(environment_id, account) for account in sorted(marked)]
            )
        except RedisUnavailable as error:
            log.warning("publish_postponed", accounts=len(marked), error=str(error))


async def publish_accounts(
    database: Database, redis: RedisStore, environment_id: UUID | None, accounts: Sequence[tuple[UUID, UUID]]
) -> None:
    """Publish (environment, account) as they stand now and clear their marks. `environment_id` None = any (flusher)."""
    for start in range(0, len(accounts), PUBLISH_CHUNK):
        chunk = accounts[start : start + PUBLISH_CHUNK]

        async def read(tx: Transaction, chunk: Sequence[tuple[UUID, UUID]] = chunk) -> list[PublishedAccount]:
            return await store.read_accounts(tx, chunk)

        published = await database.run(environment_id, read)
        await _publish(redis, published)

        async def clear(tx: Transaction, published: list[PublishedAccount] = published) -> None:
            await store.clear_dirty(tx, published)

        await database.run(environment_id, clear)


async def _publish(redis: RedisStore, accounts: Sequence[PublishedAccount]) -> None:
    states = [account.state for account in accounts]
    answers = await redis.publish(states, {}, new_token())
    for state, answer in zip(states, answers, strict=True):
        if answer == "absent" and state.revision == 1:
            await _load_new(redis, state)


async def _load_new(redis: RedisStore, state: AccountState) -> None:
    """Load an account that this very transaction made: nothing is under way for it, so nothing is waited for."""
    begun = await redis.begin_load(state.ref, new_token())
    if not isinstance(begun, str):
        await redis.finish_load(begun, state, last_at=0)


async def publish_left_over(database: Database, redis: RedisStore) -> int:
    """Deliver what a crash or an unreachable Redis left undone; the number of accounts."""

    async def read(tx: Transaction) -> list[tuple[UUID, UUID]]:
        return await store.list_dirty(tx, PUBLISH_CHUNK)

    accounts = await database.run(None, read)
    if accounts:
        await publish_accounts(database, redis, None, accounts)
    return len(accounts)
