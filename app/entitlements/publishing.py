"""Bringing what the ledger knows to the edge, after the commit and before core answers.

Where Redis cannot be reached, what was added stands and its mark stays; the flusher's publisher delivers it.
"""

from collections.abc import Mapping, Sequence
from secrets import token_bytes
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from app.entitlements import composing, store
from app.entitlements.store import LoadableAccount, PublishedAccount
from app.errors import ServiceError
from app.io import metrics
from app.io.clock import Clock
from app.io.postgres import Database, Transaction, TransactionHooks
from app.io.redis import AWAY, RedisStore, RedisUnavailable
from app.tenants import store as tenants_store
from app.wire import keys

log = structlog.get_logger()
PUBLISH_CHUNK = 5_000
"""Accounts that are read and published together."""
TOKEN_BYTES = 12
_POSTPONED = metrics.counter(
    "quotastack_core_publish_postponed_total", "Commits whose accounts could not be published before the answer"
)
Cursors = Mapping[int, tuple[UUID, str]]
"""By partition: (incarnation, stream id)."""
NO_CURSORS: Cursors = {}


def new_token() -> bytes:
    """A load token that no other load has."""
    return token_bytes(TOKEN_BYTES)


class Publisher:
    """Composes before commit and publishes after it, for every transaction of a `Database` that has its hooks."""

    def __init__(self, redis: RedisStore, clock: Clock, billing_zone: ZoneInfo) -> None:
        self._redis = redis
        self._clock = clock
        self._billing_zone = billing_zone
        self._database: Database | None = None

    def hooks(self) -> TransactionHooks:
        """What the database calls around the commit."""
        return TransactionHooks(self._before_commit, self._after_commit)

    def attach(self, database: Database) -> None:
        """The database whose transactions these hooks belong to; publishing reads from it."""
        self._database = database

    async def _before_commit(self, tx: Transaction) -> None:
        now = await tenants_store.read_frozen_at(tx) or self._clock.now()
        await composing.compose_marked(tx, now, self._billing_zone.key)

    async def _after_commit(self, environment_id: UUID, marked: frozenset[UUID]) -> None:
        if self._database is None:
            message = "the publisher has no database: call attach() first"
            raise RuntimeError(message)
        try:
            await publish_accounts(
                self._database, self._redis, environment_id, [(environment_id, account) for account in sorted(marked)]
            )
        except (RedisUnavailable, ServiceError) as error:  # it is committed: the answer must not say otherwise
            _POSTPONED.inc()
            log.warning("publish_postponed", accounts=len(marked), error=str(error))


async def publish_accounts(
    database: Database,
    redis: RedisStore,
    environment_id: UUID | None,
    accounts: Sequence[tuple[UUID, UUID]],
    cursors: Cursors = NO_CURSORS,
) -> None:
    """Publish (environment, account) as they stand now and clear their marks. `environment_id` None = any (flusher).

    `cursors` are of partitions: what the ledger is known to have read when this is called.
    """
    for start in range(0, len(accounts), PUBLISH_CHUNK):
        chunk = accounts[start : start + PUBLISH_CHUNK]

        async def read(tx: Transaction, chunk: Sequence[tuple[UUID, UUID]] = chunk) -> list[PublishedAccount]:
            return await store.read_accounts(tx, chunk)

        published, new = await _publish(redis, await database.run(environment_id, read), cursors)
        for account in new:
            await _load_new(database, redis, account)

        async def clear(tx: Transaction, published: list[PublishedAccount] = published) -> None:
            await store.clear_dirty(tx, published)

        await database.run(environment_id, clear)


async def _publish(
    redis: RedisStore, accounts: Sequence[PublishedAccount], cursors: Cursors
) -> tuple[list[PublishedAccount], list[PublishedAccount]]:
    """Publish; those that were, and of these the ones that were just made and are not loaded."""
    answers = await redis.publish([account.state for account in accounts], cursors, new_token())
    told = [(account, answer) for account, answer in zip(accounts, answers, strict=True) if answer != AWAY]
    new = [account for account, answer in told if answer == "absent" and account.state.revision == 1]
    return [account for account, _ in told], new


async def _load_new(database: Database, redis: RedisStore, account: PublishedAccount) -> None:
    """Load an account that was just made: as a rule nothing is under way for it, so no flush is waited for.

    Its figures are read again once the load has begun: a grant that committed in between found nothing to publish to.
    Where the stream has not been read to its end, the account is left to be loaded on demand.
    """
    begun = await redis.begin_load(account.state.ref, new_token())
    if isinstance(begun, str):
        return

    environment_id, end_user_id = keys.parse_account_ref(account.state.ref)
    partition = redis.partition(account.state.ref)

    async def read(tx: Transaction) -> LoadableAccount | None:
        return await store.read_account_at_cursor(tx, environment_id, end_user_id, partition)

    current = await database.run(environment_id, read, isolation="repeatable_read")
    if current is not None and current.has_drained(begun):
        await redis.finish_load(begun, current.account.state, current.reservations, current.holds)


async def publish_left_over(database: Database, redis: RedisStore) -> int:
    """Deliver what a crash or an unreachable Redis left undone; the number of accounts."""

    async def read(tx: Transaction) -> list[tuple[UUID, UUID]]:
        return await store.list_dirty(tx, PUBLISH_CHUNK)

    accounts = await database.run(None, read)
    if accounts:
        await publish_accounts(database, redis, None, accounts)
    return len(accounts)
