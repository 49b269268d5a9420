"""What a customer may do changes by itself: an override ends in its place in the stream, and edges hear of it."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.entitlements import composing, store
from app.entitlements.composing import AccountAt, Composed
from app.entitlements.loading import load_plan
from app.io.postgres import Database, Transaction
from app.ledger import store as ledger_store
from app.rules.moments import NEVER_AT, to_at
from app.trail import dirty
from app.wire import keys
from app.wire.snapshot import FeatureTerms, decode_plan
from tests.flusher.batch_subjects import Ledger, make_account, make_block, tick
from tests.flusher.test_counting import counters, limit_calls, this_month, used
from tests.flusher.world import World
from tests.rules.laws import LAW
from tests.waiting import wait_until_async

HOUR = timedelta(hours=1)


# ---- on the pure part


@LAW
@given(st.lists(st.integers(0, 30), min_size=1, max_size=5).map(sorted), st.integers(1, 30), st.integers(1, 5))
def test_it_is_composed_where_it_no_longer_holds(moments: list[int], until_at: int, size: int) -> None:
    """Once, as of the entry that shows it, however entries are cut into batches; before that not at all."""
    account = make_account("u", [make_block(1, 20)])
    account.composed_until = until_at
    postings = Ledger([account]).post([tick("u", at) for at in moments], size).postings
    found = [at for posting in postings for at in posting.recompose.values()]
    assert found == [at for at in moments if at >= until_at][:1]
    assert account.next_boundary() == (NEVER_AT if found else until_at)


# ---- on real servers


async def override(world: World, customer_id: UUID, key: str, expires_at: datetime, policy: str | None = None) -> None:
    """Give a customer an overage policy of their own until a moment, as core does; without one, no limit."""

    async def work(tx: Transaction) -> None:
        statement = """
            INSERT INTO overrides (environment_id, customer_id, feature_id, sets_limit, overage_policy, expires_at,
                                   updated_at)
            SELECT environment_id, $2, id, $4::text IS NULL, $4, $5, $6
            FROM features WHERE environment_id = $1 AND key = $3
        """
        arguments = (tx.environment, customer_id, key, policy, expires_at, world.clock.now())
        await tx.connection.execute(statement, *arguments)
        dirty.mark(tx, customer_id)

    await world.core.run(world.environment_id, work)


async def add_feature(world: World, key: str) -> None:
    """Another feature, as core makes it."""

    async def work(tx: Transaction) -> None:
        statement = """
            INSERT INTO features (environment_id, id, key, name, kind, created_at)
            VALUES ($1, gen_random_uuid(), $2, $2, 'metered', $3)
        """
        await tx.connection.execute(statement, tx.environment, key, world.clock.now())
        dirty.mark_environment(tx)

    await world.core.run(world.environment_id, work)


async def terms(world: World, end_user_id: str) -> dict[str, FeatureTerms]:
    """What the edge knows of the features."""
    snapshot_id = (await world.view(end_user_id)).snapshot_id
    await load_plan(world.core, world.redis, world.environment_id, snapshot_id)
    return decode_plan(await world.redis.client.get(b"plan:" + snapshot_id.encode())).features


async def policies(world: World, end_user_id: str) -> dict[str, str]:
    """The overage policy of each feature, as the edge knows it."""
    return {key: offered.overage_policy for key, offered in (await terms(world, end_user_id)).items()}


async def until(world: World, end_user_id: str, at: int) -> None:
    """Wait until the edge has heard that the account holds up to this moment."""

    async def has_heard() -> bool:
        return (await world.view(end_user_id)).valid_until == at

    await wait_until_async(has_heard, 20, f"the account to hold until {at}")


async def account(world: World) -> Any:
    """The only account's row."""
    [row] = await world.ledger("SELECT * FROM accounts")
    return row


async def test_overrides_end_at_the_edge_by_themselves(world: World) -> None:
    """One after the other: a tick at its moment is enough, and nothing but the snapshot changes."""
    customer_id = await world.customer("u", 100)
    await add_feature(world, "other")
    first = world.clock.now() + HOUR
    last = first + HOUR
    await override(world, customer_id, "calls", first, "allow")
    await override(world, customer_id, "other", last, "notify")
    async with world.flusher():
        assert await policies(world, "u") == {"calls": "allow", "other": "notify"}
        assert (await world.view("u")).valid_until == to_at(first)
        assert await world.redis.tick([world.ref("u")], to_at(first)) == ["wait"]
        await until(world, "u", to_at(last))
        offered = await world.redis.client.get(keys.plan((await world.view("u")).snapshot_id))
        assert offered is not None  # edges need not ask core for it, which may be away
        assert decode_plan(offered).features["calls"].overage_policy == "block"
        assert await policies(world, "u") == {"calls": "block", "other": "notify"}
        assert (await account(world))["composed_until"] == last
        assert (await world.use("u", "late", 10, last))[0] == b"wait"
        await until(world, "u", NEVER_AT)
        assert await policies(world, "u") == {"calls": "block", "other": "block"}
        assert (await world.use("u", "late", 10, last))[1] == b"+10000000:90000000:0"
        await world.posted(1)
    row = await account(world)
    assert (row["composed_until"], row["valid_until"]) == (None, None)
    assert row["seq"] == 2  # the grant and the usage
    assert (await world.verify()).findings == []


async def test_counting_goes_on_with_what_was_counted(world: World) -> None:
    """An override without a limit stops the counting; where it ends, the period has what was counted in it before."""
    customer_id = await world.customer("u", 100)
    await limit_calls(world, 10)
    async with world.flusher():
        await world.use("u", "counted", 4, limit=10)
        await world.posted(1)
        await world.at_rest("u")
        expires_at = world.clock.now() + timedelta(seconds=5)
        await override(world, customer_id, "calls", expires_at)
        assert (await account(world))["period_start_at"] is None
        assert await used(world, "u") == 0
        assert await world.redis.tick([world.ref("u")], to_at(expires_at)) == ["wait"]
        await until(world, "u", this_month().end_at)
        assert await used(world, "u") == 4
        assert (await world.use("u", "over", 7, expires_at, limit=10))[1].startswith(b"!")
    assert await counters(world) == [(this_month().start_at, 4)]
    assert (await world.verify()).findings == []


async def test_the_catalogue_waits_for_who_composes(world: World) -> None:
    """Whoever holds an account has all of the catalogue or nothing of a change, and the change then composes it too."""
    customer_id = await world.customer("u", 100)
    flusher = await Database.open(world.urls["quotastack_flusher"], "composing", 1)
    is_held = asyncio.Event()

    async def change() -> None:
        await is_held.wait()
        await add_feature(world, "other")

    async def work(tx: Transaction) -> Composed:
        held = await ledger_store.lock_account(tx, world.environment_id, customer_id)
        assert held is not None
        is_held.set()

        async def somebody_waits() -> bool:
            return bool(await tx.connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await wait_until_async(somebody_waits, 20, "the change to wait for the account")
        asked = [AccountAt(customer_id, held.posted_at, held.counting)]
        return (await composing.compose(tx, world.environment_id, asked, "UTC", world.clock.now()))[customer_id]

    changing = asyncio.create_task(change())
    composed = await flusher.run(None, work)
    await changing
    await flusher.close()
    old = await world.core.run(
        world.environment_id, lambda tx: store.read_snapshot(tx, world.environment_id, composed.snapshot_id)
    )
    assert old is not None
    assert set(decode_plan(old).features) == {"calls"}
    async with world.flusher():
        assert set(await policies(world, "u")) == {"calls", "other"}
