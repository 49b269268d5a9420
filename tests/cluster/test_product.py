"""The whole product on a cluster: everything is posted once; what a failover loses is what it has to lose."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.product import FLUSHERS, Product, product_on
from tests.cluster.servers import Cluster

LASTS_SECONDS = 4
"""Of a reservation: the primary is away before it ends."""


@pytest.fixture
async def product(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Product]:
    """The product with servers as they are when nothing has been put into them."""
    cluster.empty()
    async with product_on(cluster, tmp_path) as running:
        yield running


async def test_two_flushers_post_everything_once(cluster: Cluster, product: Product) -> None:
    """Usage, batches and reservations on three servers; also while a slot moves from one to another."""
    names = product.customers.values()
    assert len({cluster.primary_of(partition).port for partition in product.customers}) == 3
    await product.use("one by one", names, 5)
    await product.batch("together")
    await product.reserve("reserved")
    await product.prove()
    before = await product.incarnations()
    cluster.move(0)
    await product.use("moved", names, 5)
    await product.prove()
    assert await product.incarnations() == before


async def test_a_failover_to_a_replica_that_is_behind(cluster: Cluster, product: Product) -> None:
    """Lost is what the replica had not seen and no flusher had posted: of the killed server's customers, and no more.

    What was posted stays, also where the replica has not seen it; a repeat of it has no second effect, and a repeat of
    what was lost has one. The accounts of that server are loaded again, and those of no other.
    """
    names = product.customers.values()
    victim = cluster.primary_of(0)
    hit = {partition for partition in product.customers if cluster.primary_of(partition) is victim}
    hit_names = {product.customers[partition] for partition in hit}
    await product.use("everywhere", names, 5)
    await product.prove()
    replica = cluster.hold_back(victim)
    unseen = await product.use("unseen by the replica", names, 3)
    await product.prove()
    for flusher in FLUSHERS:
        await product.stack.stop(flusher)
    unposted = await product.use("neither seen nor posted", names, 4)
    before = await product.incarnations()
    cluster.kill(victim, replica)
    product.stack.start(*FLUSHERS)
    lost = {key for key in unposted if product.acknowledged[key] in hit_names}
    assert len(lost) == 4 * len(hit) > 0
    await product.prove(without=lost)
    after = await product.incarnations()
    assert {partition for partition in before if before[partition] != after[partition]} == hit
    await product.use("unseen by the replica", names, 3)
    await product.use("neither seen nor posted", names, 4)
    assert set(unseen) | set(unposted) <= product.acknowledged.keys()
    await product.use("afterwards", names, 2)
    await product.prove()


async def test_a_primary_that_is_away_holds_up_nobody_else(cluster: Cluster, product: Product) -> None:
    """Nobody takes over from it: what others use, are granted, and reserved for too long, is posted meanwhile."""
    names = product.customers.values()
    await product.use("before", names, 3)
    await product.prove()
    away = cluster.primary_of(0)
    hit = {name for partition, name in product.customers.items() if cluster.primary_of(partition) is away}
    others = set(names) - hit
    await product.reserve_for_a_moment(others, LASTS_SECONDS)
    cluster.replica_of(away).end(signal.SIGKILL)
    away.end(signal.SIGKILL)
    await product.nothing_reserved(others)
    for name in [*hit, *others]:
        await product.grant(name, 10)
    await product.use("meanwhile", others, 3)
    await product.prove_of(others)
    cluster.heal()
    await product.use("afterwards", names, 3)
    await product.prove()
