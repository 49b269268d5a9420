"""An edge on a real cluster: every customer is where their partition is, also while that changes."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.io.cluster import ClusterClient
from edge.worker import EX_CONFIG
from tests.cluster.servers import FAILOVER_SECONDS, Cluster, Node
from tests.edge.world import PARTITIONS, Answer, EdgeProcess, StandInCore, Tenant, World
from tests.faults.customer import SPOOLED
from tests.waiting import wait_until_async
from tests.wire.rate_models import read_list

pytestmark = pytest.mark.asyncio(loop_scope="session")

EDGE_SECONDS = 8.0
"""What the edge may take to go on once a replica has taken over."""


def plain_client(url: str) -> Redis:
    """A client of one server, as redis-py makes it."""
    return Redis.from_url(url, protocol=2)


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(cluster: Cluster) -> AsyncIterator[Tenant]:
    """A tenant of an edge with one worker, which is ready, and a core that knows nothing."""
    core = StandInCore()
    await core.start()
    redis: Any = ClusterClient(cluster.url, plain_client, follows=True)
    cluster.empty()
    edge = EdgeProcess(cluster.url, core.url, workers=1)
    edge.start()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await edge.ready()
        yield await World(redis, core, edge, session).tenant()
    await redis.aclose()
    await core.stop()
    assert edge.stop() == 0


async def customers(tenant: Tenant, balance: int) -> dict[int, str]:
    """A customer with so many credits in each partition."""
    found: dict[int, str] = {}
    while len(found) < PARTITIONS:
        name = uuid4().hex
        found.setdefault(tenant.partition(name), name)
    for name in found.values():
        await tenant.seed(name, balance)
    return found


async def answered(status: int, ask: Callable[[], Awaitable[Answer]], seconds: float = FAILOVER_SECONDS) -> Answer:
    """The first answer with this status; every other says: later."""

    async def has_status() -> Answer | None:
        answer = await ask()
        assert answer.status in (status, 503), answer.body
        return answer if answer.status == status else None

    return await wait_until_async(has_status, seconds, f"an answer of {status}")


async def test_the_partitions_are_on_all_servers(cluster: Cluster) -> None:
    """Or the tests of this file would show nothing."""
    assert len({cluster.primary_of(partition).port for partition in range(PARTITIONS)}) == 3


async def test_requests_are_counted_where_their_environment_is(tenant: Tenant) -> None:
    """Of many environments, each on the server that its ref leads to."""
    for _ in range(2 * PARTITIONS):
        other = await tenant.world.tenant()
        await other.seed("user_1", 10)
        for _ in range(3):
            answer = await answered(200, lambda other=other: other.check("user_1"))
            most = read_list(answer.headers["RateLimit-Policy"])["key"]["q"]
            assert most - 3 <= read_list(answer.headers["RateLimit"])["key"]["r"] < most


async def test_everything_that_an_edge_does(tenant: Tenant) -> None:
    """Usage, repeats, checks, a batch over all servers, and reservations, for a customer of each partition."""
    names = list((await customers(tenant, 1000)).values())
    for name in names:
        first = await tenant.use(name, units=3, idempotency_key="once")
        assert (first.status, first.body["balance"]) == (202, 997)
        assert (await tenant.use(name, units=3, idempotency_key="once")).raw == first.raw
        assert (await tenant.use(name, units=4, idempotency_key="once")).status == 422
        assert (await tenant.check(name)).body["balance"] == 997
    events = [{"end_user_id": name, "feature_key": "api_calls", "units": 7} for name in names]
    results = (await tenant.batch(events)).body["results"]
    assert [result["balance"] for result in results] == [990] * len(names)
    for name in names:
        opened = await tenant.reserve(name, units=90)
        assert (opened.status, opened.body["balance"]) == (201, 900)
        reservation_id = opened.body["reservation_id"]
        assert (await tenant.show(reservation_id)).status == 200
        assert (await tenant.change(reservation_id, "commit", units=40)).body["balance"] == 950
        assert (await tenant.check(name)).body["balance"] == 950
        assert len(await tenant.entries(name)) == 4


async def test_nobody_overspends(tenant: Tenant) -> None:
    """150 enforced events at once for 100 credits, on every server at the same time: exactly 100 of each customer."""
    names = list((await customers(tenant, 100)).values())
    answers = await asyncio.gather(*[tenant.use(name, enforce=True) for _ in range(150) for name in names])
    assert {answer.status for answer in answers} == {202, 402}
    for number, name in enumerate(names):
        accepted = [answer for answer in answers[number :: len(names)] if answer.status == 202]
        assert len(accepted) == len(await tenant.entries(name)) == 100
        assert (await tenant.check(name)).body["balance"] == 0


async def test_a_slot_moves_to_another_server_under_load(cluster: Cluster, tenant: Tenant) -> None:
    """What its old server turns away is sent to the new one: each key has one entry, and nobody waits for long."""
    names = await customers(tenant, 100_000)
    moved = names[0]
    taken: list[str] = []
    has_moved = asyncio.Event()

    async def client(number: int) -> None:
        while not has_moved.is_set() or len(taken) < 50:
            key = f"{number}-{len(taken)}-{uuid4().hex}"
            use = lambda key=key: tenant.use(moved, idempotency_key=key, enforce=True)  # noqa: E731 - two lines are enough
            await answered(202, use)
            taken.append(key)

    clients = asyncio.gather(*[client(number) for number in range(10)])
    await asyncio.to_thread(cluster.move, 0)
    has_moved.set()
    await clients
    assert len(await tenant.entries(moved)) == len(set(taken)) == len(taken)
    assert (await tenant.check(moved)).body["balance"] == 100_000 - len(taken)
    for name in names.values():
        assert (await tenant.use(name, enforce=True)).status == 202


@pytest.mark.parametrize("lose", [Cluster.kill, Cluster.stop])
async def test_a_primary_is_lost_and_its_replica_takes_over(
    cluster: Cluster, tenant: Tenant, lose: Callable[[Cluster, Node, Node], None]
) -> None:
    """Customers of other servers notice nothing; those of the lost one go on, and a retry has one effect."""
    names = await customers(tenant, 1_000_000)
    lost = cluster.primary_of(0)
    hit = {name for partition, name in names.items() if cluster.primary_of(partition) is lost}
    before = {name: await tenant.use(name, idempotency_key="before", enforce=True) for name in names.values()}
    replica = cluster.replica_of(lost)
    cluster.wait_copied(lost)
    is_over = asyncio.Event()

    async def use_elsewhere() -> int:
        count = 0
        while not is_over.is_set():
            for name in set(names.values()) - hit:
                assert (await tenant.use(name, enforce=True)).status == 202
                count += 1
        return count

    elsewhere = asyncio.create_task(use_elsewhere())
    await asyncio.to_thread(lose, cluster, lost, replica)
    for name in hit:
        use = lambda name=name: tenant.use(name, idempotency_key="after", enforce=True)  # noqa: E731 - as above
        await answered(202, use, EDGE_SECONDS)
    is_over.set()
    assert await elsewhere
    tenant.world.redis.note_lost()
    for name in hit:
        assert (await tenant.use(name, idempotency_key="before", enforce=True)).raw == before[name].raw
        assert (await tenant.check(name)).body["balance"] == 999_998
        assert len(await tenant.entries(name)) == 2


async def test_usage_of_a_lost_primary_is_spooled(cluster: Cluster, tenant: Tenant) -> None:
    """It is acknowledged while nobody has its slot, and taken in once the replica has; of other customers at once."""
    names = await customers(tenant, 1000)
    lost = cluster.primary_of(0)
    hit = {name for partition, name in names.items() if cluster.primary_of(partition) is lost}
    replica = cluster.replica_of(lost)
    for name in names.values():
        assert (await tenant.check(name)).body["balance"] == 1000
    cluster.wait_copied(lost)
    lost.end(signal.SIGKILL)
    answers = {name: await tenant.use(name, idempotency_key="meanwhile") for name in names.values()}
    assert {answer.status for answer in answers.values()} == {202}
    assert {name for name, answer in answers.items() if answer.body.get("durability") == SPOOLED} == hit
    await asyncio.to_thread(cluster.wait_promoted, replica, lost)
    tenant.world.redis.note_lost()
    for name in names.values():

        async def is_taken_in(name: str = name) -> bool:
            check = await tenant.check(name)
            return check.status == 200 and check.body["balance"] == 999

        await wait_until_async(is_taken_in, EDGE_SECONDS, f"the usage of {name} to be taken in")
        assert len(await tenant.entries(name)) == 1


async def test_one_server_of_a_cluster_is_not_taken_for_all(cluster: Cluster) -> None:
    """An edge that is given the address of a server that has not everything says so, and does not start."""
    other = next(
        node for node in cluster.nodes if node.role() == "master" and node is not cluster.primary_of_agreement()
    )
    edge = EdgeProcess(other.url, "http://127.0.0.1:9", workers=1)
    edge.start()
    assert edge.process is not None
    assert await asyncio.to_thread(edge.process.wait, EDGE_SECONDS) == EX_CONFIG
