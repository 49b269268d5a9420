"""Several flushers share the partitions evenly, whoever comes, goes or dies; and nothing is posted twice."""

import asyncio
from collections import Counter
from contextlib import suppress
from uuid import UUID, uuid4

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from app.flusher.loop import LEASE, Flusher, Keeping
from app.flusher.sharing import share_of
from app.io.postgres import Database
from app.io.stream import StreamConnection
from tests.flusher.world import AGREEMENT, CREDIT, World
from tests.waiting import wait_until_async

TURN_SECONDS = 3.0
"""Between two looks at the leases, with room for a busy machine."""
SHARED_SECONDS = 10.0


@given(st.lists(st.uuids(), min_size=1, unique=True), st.integers(1, 4096))
def test_the_shares_make_the_whole_and_are_even(alive: list[UUID], partitions: int) -> None:
    """They sum to all partitions, so that none is left over and none is fought for; two differ by one at most."""
    shares = [share_of(owner, alive, partitions) for owner in alive]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1


class Running:
    """A flusher that can be told to stop, or cut off in the middle of whatever it does."""

    def __init__(self, database: Database, stream: StreamConnection, flusher: Flusher) -> None:
        self._database, self._stream, self._stop = database, stream, asyncio.Event()
        self._task = asyncio.create_task(flusher.run(self._stop))

    @classmethod
    async def start(cls, world: World) -> "Running":
        """One more beside those that run."""
        database = await Database.open(world.urls["quotastack_flusher"], "flusher", 2)
        stream = await StreamConnection.connect(world.redis_url, AGREEMENT)
        return cls(database, stream, Flusher(database, stream, world.clock, Keeping(600, 1_000_000), "UTC"))

    async def stop(self) -> None:
        """An end in good order."""
        self._stop.set()
        await self._task
        await self._close()

    async def kill(self) -> None:
        """An end without a word: leases and all stay as they are."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._close()

    async def _close(self) -> None:
        await self._stream.close()
        await self._database.close()


async def leases(world: World) -> list[int]:
    """How many partitions each owner holds now, the greatest number first."""
    connection = await asyncpg.connect(world.urls["owner"])
    try:
        rows = await connection.fetch("SELECT owner FROM partition_leases WHERE lease_until > clock_timestamp()")
    finally:
        await connection.close()
    return [count for _, count in Counter(row["owner"] for row in rows).most_common()]


async def wait_for_leases(world: World, wanted: list[int], seconds: float = SHARED_SECONDS) -> None:
    """Wait until the partitions are shared so."""

    async def are_shared() -> bool:
        return await leases(world) == wanted

    await wait_until_async(are_shared, seconds, f"the partitions to be shared as {wanted}")


async def customers_everywhere(world: World) -> list[str]:
    """A customer with 100 credits in each partition."""
    found: dict[int, str] = {}
    while len(found) < AGREEMENT.partitions:
        name = uuid4().hex
        found.setdefault(world.redis.partition(world.ref(name)), name)
    for name in found.values():
        await world.customer(name, 100)
    return list(found.values())


async def test_whoever_comes_gets_a_share_and_whoever_goes_leaves_it(world: World) -> None:
    """Four partitions are shared by one, two and three flushers, and by those that are left when one stops."""
    first = await Running.start(world)
    await wait_for_leases(world, [4])
    second = await Running.start(world)
    await wait_for_leases(world, [2, 2])
    third = await Running.start(world)
    await wait_for_leases(world, [2, 1, 1])
    await first.stop()
    await wait_for_leases(world, [2, 2])
    await third.stop()
    await wait_for_leases(world, [4])
    await second.stop()
    assert await leases(world) == []


async def test_more_flushers_than_partitions(world: World) -> None:
    """Each partition has one; the flusher that has none waits, and takes over when another goes."""
    running = [await Running.start(world) for _ in range(AGREEMENT.partitions + 1)]
    await wait_for_leases(world, [1, 1, 1, 1])
    await running.pop(0).stop()
    await wait_for_leases(world, [1, 1, 1, 1])
    for flusher in running:
        await flusher.stop()


async def test_the_share_of_one_that_was_killed_is_taken_within_a_lease(world: World) -> None:
    """Usage goes on in all partitions while one comes and is killed: all of it is posted, and nothing twice."""
    first = await Running.start(world)
    names = await customers_everywhere(world)

    async def use(round_name: str) -> None:
        await asyncio.gather(*[world.use(name, f"{round_name} {number}", 1) for name in names for number in range(5)])

    await use("alone")
    second = await Running.start(world)
    await use("while it comes")
    await wait_for_leases(world, [2, 2])
    await use("shared")
    await second.kill()
    await use("after it was killed")
    await wait_for_leases(world, [4], LEASE.total_seconds() + TURN_SECONDS)
    await use("alone again")
    await world.posted(5 * 5 * len(names))
    for name in names:
        at_rest = await world.at_rest(name)
        assert (at_rest.base_micro, at_rest.applied_micro) == (75 * CREDIT, 25 * CREDIT)
    assert (await world.verify()).findings == []
    await first.stop()
