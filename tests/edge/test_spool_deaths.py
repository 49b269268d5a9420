"""What is spooled outlives the edge, each of its workers, and a spool that is full or cannot be had."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from app.embedded.valkey import EmbeddedValkey
from app.wire import ids
from edge.spool_files import DAMAGED_SUFFIX
from edge.worker import EX_CONFIG
from tests.edge.spooling import SECONDS, away, edge_on, event_ids, files, is_empty, is_spooled, spooled
from tests.edge.world import Answer, EdgeProcess, wait_gone
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_edge_that_is_killed_leaves_its_spool(own_valkey: EmbeddedValkey, spool: Path) -> None:
    """Kill -9 with the server away, a torn tail behind it: the next edge takes everything in, once and in order."""
    async with edge_on(own_valkey.url, spool) as world:
        tenant = await world.tenant()
        await tenant.seed("user_1", 1000)
        assert (await tenant.use("user_1")).status == 202
        await away(tenant, own_valkey)
        sent = [await spooled(tenant) for _ in range(30)]
        workers = world.edge.worker_pids()
        os.kill(world.edge.pid, signal.SIGKILL)
        for pid in workers:
            wait_gone(pid)
    [path] = files(spool)
    path.write_bytes(path.read_bytes() + bytes(100))
    own_valkey.start()
    async with edge_on(own_valkey.url, spool) as world:
        await is_empty(spool)
        tenant.world.redis = world.redis
        assert (await event_ids(tenant))[1:] == sent
        assert "100 bytes were never acknowledged" in (spool.parent / "edge.log").read_text()


async def test_what_is_damaged_while_it_waits(own_valkey: EmbeddedValkey, spool: Path) -> None:
    """It is given up after some attempts, and its file kept aside; nothing else of its customer waits for it."""
    async with edge_on(own_valkey.url, spool) as world:
        tenant = await world.tenant()
        for user in ("user_1", "user_2"):
            await tenant.seed(user, 1000)
            assert (await tenant.use(user)).status == 202
        await away(tenant, own_valkey)
        sent = [await spooled(tenant) for _ in range(50)]
        other = await spooled(tenant, "user_2")
        [path] = files(spool)
        content = bytearray(path.read_bytes())
        for place in (0, 20):
            content[content.index(ids.parse("evt", sent[place]).bytes)] ^= 1
        path.write_bytes(content)
        own_valkey.start()
        kept = path.with_suffix(DAMAGED_SUFFIX)

        async def is_kept_aside() -> bool:
            return files(spool) == [kept]

        await wait_until_async(is_kept_aside, SECONDS, "all else is taken in")
        assert (await event_ids(tenant))[1:] == [*sent[1:20], *sent[21:]]
        assert (await event_ids(tenant, "user_2"))[1:] == [other]
        assert f"{kept} is kept: 2 places" in (spool.parent / "edge.log").read_text()


async def test_an_end_in_good_order_keeps_the_spool(own_valkey: EmbeddedValkey, spool: Path) -> None:
    """SIGTERM with the server away: everybody is answered, exit 0; the next edge takes in what was acknowledged."""
    async with edge_on(own_valkey.url, spool) as world:
        tenant = await world.tenant()
        await tenant.seed("user_1", 1000)
        assert (await tenant.use("user_1")).status == 202
        await away(tenant, own_valkey)
        sending = asyncio.gather(*[tenant.use("user_1") for _ in range(100)], return_exceptions=True)

        async def has_begun() -> bool:
            return bool(files(spool))

        await wait_until_async(has_begun, SECONDS, "usage is spooled")
        assert await asyncio.to_thread(world.edge.stop) == 0
        # Who was not taken in by the time of the signal got no answer.
        answers = [answer for answer in await sending if isinstance(answer, Answer)]
        assert all(map(is_spooled, answers))
        sent = [answer.body["event_id"] for answer in answers]
        assert sent
    own_valkey.start()
    async with edge_on(own_valkey.url, spool) as world:
        await is_empty(spool)
        tenant.world.redis = world.redis
        assert sorted((await event_ids(tenant))[1:]) == sorted(sent)


async def test_each_worker_has_its_own_and_a_dead_ones_is_adopted(own_valkey: EmbeddedValkey, spool: Path) -> None:
    """Two workers spool; one is killed with the server away, and its successor has what it left, once."""
    async with edge_on(own_valkey.url, spool, workers=2) as world:
        tenant = await world.tenant()
        await tenant.seed("user_1", 1000)
        for _ in range(20):  # both workers come to know the key
            assert (await tenant.use("user_1")).status == 202
        await away(tenant, own_valkey)
        sent = list[str]()

        async def have_both_spooled() -> bool:
            sent.append(await spooled(tenant))
            return len(files(spool)) == 2

        await wait_until_async(have_both_spooled, SECONDS, "both workers have spooled")
        victim = world.edge.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        wait_gone(victim)
        own_valkey.start()
        await is_empty(spool)
        assert sorted((await event_ids(tenant))[20:]) == sorted(sent)
        assert (await tenant.check("user_1")).body["balance"] == 1000 - 20 - len(sent)


async def test_a_full_spool(own_valkey: EmbeddedValkey, spool: Path) -> None:
    """503 `backlog` while it has no room; once it was taken in there is room again."""
    async with edge_on(own_valkey.url, spool, SPOOL_MAX_BYTES="1000") as world:
        tenant = await world.tenant()
        await tenant.seed("user_1", 1000)
        assert (await tenant.use("user_1")).status == 202
        await away(tenant, own_valkey)
        sent = list[str]()

        async def is_full() -> bool:
            answer = await tenant.use("user_1")
            if is_spooled(answer):
                sent.append(answer.body["event_id"])
                return False
            assert (answer.status, answer.body["code"], answer.headers["Retry-After"]) == (503, "backlog", "1")
            return True

        await wait_until_async(is_full, SECONDS, "the spool is full")
        assert len(sent) > 5
        own_valkey.start()
        await is_empty(spool)
        assert (await event_ids(tenant))[1:] == sent
        assert (await tenant.use("user_1")).body["cost"] == 1


async def test_a_directory_that_cannot_be_used(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """The exit code of a wrong setting, and its name."""
    (tmp_path / "file").write_text("")
    edge = EdgeProcess(own_valkey.url, "http://127.0.0.1:1", SPOOL_DIRECTORY=str(tmp_path / "file" / "spool"))
    edge.start(tmp_path / "edge.log")
    assert edge.process is not None
    assert await asyncio.to_thread(edge.process.wait, SECONDS) == EX_CONFIG
    assert "SPOOL_DIRECTORY" in (tmp_path / "edge.log").read_text()


async def test_the_oracle_of_many_kills(own_valkey: EmbeddedValkey, spool: Path) -> None:
    """Servers and workers die again and again under load: every acknowledged event has one entry, and no other."""
    acknowledged, customers = dict[str, str](), [f"user_{number}" for number in range(10)]
    async with edge_on(own_valkey.url, spool, workers=2) as world:
        tenant = await world.tenant()
        for user in customers:
            await tenant.seed(user, 100_000)
            assert (await tenant.use(user, idempotency_key="first")).status == 202

        async def send(user: str, key: str) -> bool:
            try:
                answer = await tenant.use(user, idempotency_key=key)
            except aiohttp.ClientError:
                return False
            if answer.status == 202:
                acknowledged[key] = answer.body["event_id"]
            return answer.status == 202

        async def client(user: str) -> None:
            for count in range(60):
                key = f"{user}-{count}"
                await wait_until_async(lambda key=key: send(user, key), 40, f"{key} is acknowledged")

        async def have_grown(count: int) -> bool:
            return len(acknowledged) >= count

        clients = asyncio.gather(*map(client, customers))
        for count in (60, 200, 400):
            await wait_until_async(lambda count=count: have_grown(count), 40, "usage goes on")
            os.kill(own_valkey.pid, signal.SIGKILL)
            await wait_until_async(lambda count=count: have_grown(count + 40), 40, "usage goes on without Redis")
            os.kill(world.edge.worker_pids()[0], signal.SIGKILL)
            own_valkey.start()
        await clients
        await is_empty(spool)
        await world.redis.connection_pool.disconnect()
        found = [event_id for user in customers for event_id in (await event_ids(tenant, user))[1:]]
        assert sorted(found) == sorted(acknowledged.values())
        assert len(found) == 600
        assert ids.parse("evt", found[0])
