"""Bringing a clock to where it is sent: everything that falls due until then is posted and published.

The clock goes in steps, so that no account has more to post at once than an order that comes in between can wait for.
In each step reservations end first, each at the moment at which it falls due, for what comes back with it can still be
spent, expire or roll over until the step is done. Then the clock moves, in the table and in Redis, and ticks have the
flusher post what is due, in its order. All of it may be done again, so whoever asks again goes on.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.entitlements.loading import load_account
from app.entitlements.publishing import new_token
from app.errors import ServiceError
from app.io.pauses import pauses
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.io.reservations import expire
from app.rules.moments import to_at
from app.test_clocks import store
from app.test_clocks.store import AccountOnClock, DueReservation, Way
from app.wire import keys
from app.wire.codes import Code

SETTLE_SECONDS = 20.0
"""How long one request waits, in all."""
STEP = timedelta(days=31)
"""How far a clock goes at once where something falls due."""
PAGE = 1_000
"""Accounts, or reservations, that are brought on together."""
LOADS_AT_ONCE = 32
"""Accounts that are brought into Redis at a time."""
BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


def next_stop(way: Way, due_at: datetime | None) -> datetime:
    """Where the clock stops next, if the first that is due is so at `due_at` (None = nothing is).

    What was left of the step before, by a request that waited long enough, is posted first; where nothing falls due the
    clock does not stop.
    """
    if due_at is None:
        return way.to
    return way.stands_at if due_at <= way.stands_at else min(way.to, due_at + STEP)


class Settling:
    """One clock on its way, as long as one request waits for it."""

    def __init__(self, database: Database, redis: RedisStore, environment_id: UUID, way: Way) -> None:
        self._database = database
        self._redis = redis
        self._environment_id = environment_id
        self._environment_ref = keys.environment_ref(environment_id)
        self._way = way
        self._to = way.stands_at
        """Where it stops next."""
        self._deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        self._moved = set[UUID]()
        """Accounts at which something fell due."""

    async def run(self) -> int:
        """At how many accounts something fell due, once all of it is posted and published.

        Raises ServiceError test_clock_advancing where that takes longer than one request waits.
        """
        has_arrived = False
        while not has_arrived:
            await self._wait_published()
            due_at = await self._database.run(self._environment_id, store.read_next_due)
            self._to = next_stop(self._way, due_at)
            await self._step()
            has_arrived = self._to == self._way.to
            self._way = Way(self._to, self._way.to)
        return len(self._moved)

    async def _step(self) -> None:
        """Bring the clock to where it stops next."""
        async for _ in pauses(self._left_seconds):
            await self._wait_published()
            if await self._end_reservations():
                continue  # their ends have to be posted first
            await self._database.run(self._environment_id, lambda tx: store.move_clock(tx, self._to))
            await self._move_accounts()
            await self._wait_published()
            if await self._database.run(self._environment_id, self._arrive):
                return
        raise _still_advancing()

    async def _arrive(self, tx: Transaction) -> bool:
        """Note that the clock has arrived, where nothing is due any more; whether it stands where it was to stop."""
        due_at = await store.read_next_due(tx)
        if due_at is not None and due_at <= self._to:
            return False
        if self._to == self._way.to:
            await store.finish_advance(tx, self._to)
        return True

    @property
    def _left_seconds(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    def _require_time(self) -> None:
        if self._left_seconds <= 0:
            raise _still_advancing()

    async def _wait_published(self) -> None:
        """Wait until everything is posted and published that is in the streams now."""
        begun = await self._redis.read_stream_places()
        async for _ in pauses(self._left_seconds):
            places = await self._redis.read_stream_places()
            if all(place.has_published(before) for place, before in zip(places, begun, strict=True)):
                return
            for number, place in enumerate(places):
                if place.incarnation != begun[number].incarnation:  # another memory: it may have to be read again
                    begun[number] = place
        raise _still_advancing()

    # ---- reservations

    async def _end_reservations(self) -> int:
        """End what falls due on the way, each at its moment; how many there were."""
        after, count = BEGINNING, 0
        while page := await self._list_reservations(after):
            self._require_time()
            after, count = page[-1].place, count + len(page)
            await self._load({reservation.end_user_id for reservation in page})
            for wave in _waves(page):
                clocks = [(self._ref(one.end_user_id), to_at(one.expires_at)) for one in wave]
                await self._redis.set_clock(clocks, new_token())
                members = [keys.due_member(self._environment_ref, one.id) for one in wave]
                due = [(self._redis.partition(ref), member) for (ref, _), member in zip(clocks, members, strict=True)]
                await expire(self._redis, due, to_at(self._to))
        return count

    async def _list_reservations(self, after: tuple[datetime, UUID]) -> list[DueReservation]:
        return await self._database.run(
            self._environment_id, lambda tx: store.list_reservations(tx, self._to, after, PAGE)
        )

    # ---- accounts

    async def _move_accounts(self) -> None:
        """Have accounts' clocks stand there, in the last step all, and in the first of a clock that is new.

        Where something is due, the flusher is told.
        """
        after = UUID(int=0)
        while page := await self._list_accounts(after):
            self._require_time()
            after = page[-1].id
            missing = await self._set_clocks(page)
            self._moved.update(account.id for account in page if account.is_due)
            due = [account for account in missing if account.is_due]
            await self._load(account.end_user_id for account in due)
            await self._set_clocks(due)

    async def _list_accounts(self, after: UUID) -> list[AccountOnClock]:
        only_due = self._to < self._way.to and not self._way.is_new
        return await self._database.run(
            self._environment_id, lambda tx: store.list_accounts(tx, self._to, after, PAGE, only_due=only_due)
        )

    async def _set_clocks(self, accounts: Sequence[AccountOnClock]) -> list[AccountOnClock]:
        """Those that are not loaded; whoever loads them reads where the clock stands."""
        clocks = [(self._ref(account.end_user_id), to_at(self._to)) for account in accounts]
        answers = await self._redis.set_clock(clocks, new_token())
        return [account for account, answer in zip(accounts, answers, strict=True) if answer == "miss"]

    async def _load(self, end_user_ids: Iterable[str]) -> None:
        """Bring accounts into Redis; one that is busy has its turn in the next round."""
        waiting = list(end_user_ids)
        for start in range(0, len(waiting), LOADS_AT_ONCE):
            self._require_time()
            chunk = waiting[start : start + LOADS_AT_ONCE]
            await asyncio.gather(*(self._load_one(end_user_id) for end_user_id in chunk))

    async def _load_one(self, end_user_id: str) -> None:
        await load_account(self._database, self._redis, self._environment_id, end_user_id)

    def _ref(self, end_user_id: str) -> bytes:
        return keys.account_ref(self._environment_ref, end_user_id)


def _waves(page: Sequence[DueReservation]) -> list[list[DueReservation]]:
    """In the order in which they fall due, no two of one account in a wave: its clock has to stand between them."""
    waves: list[list[DueReservation]] = []
    seen: dict[str, int] = {}
    for reservation in page:
        number = seen[reservation.end_user_id] = seen.get(reservation.end_user_id, -1) + 1
        if number == len(waves):
            waves.append([])
        waves[number].append(reservation)
    return waves


def _still_advancing() -> ServiceError:
    detail = "The clock is on its way, and what falls due is being posted. Ask for the same again, and it goes on."
    return ServiceError(Code.TEST_CLOCK_ADVANCING, detail)
