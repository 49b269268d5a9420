"""Checkpoints: taken once a day, chained, and in the way of whoever computes a chain anew."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.embedded.postgres import EmbeddedPostgres
from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.checkpoint import Checkpointer
from app.ledger import checkpoints
from app.ledger.book import Account, Origin
from app.ledger.checkpoints import Checkpoint, CheckpointDocument, UnreadableCheckpoints
from app.rules import chain
from app.rules.moments import to_at
from tests.app.ledger.proved import FIRST_DAY, JOBS, Proved, shown, superuser, take_checkpoint, verified
from tests.app.schema.catalogue import connected
from tests.conftest import DatabaseUrls

MORE = 1_000_000
RAISED = {
    "ledger_lines": "amount_micro = amount_micro + sign(amount_micro) * $2 WHERE account_id = $1 AND seq = 1",
    "credit_blocks": "granted_micro = granted_micro + $2, remaining_micro = remaining_micro + $2, live = true "
    "WHERE account_id = $1 AND id = (SELECT split_part(account_name, ':', 2)::uuid FROM ledger_lines "
    "WHERE account_id = $1 AND seq = 1 AND line = 0)",
    "accounts": "total_micro = total_micro + $2 WHERE id = $1",
}


async def rewrite(connection: asyncpg.Connection, account_id: UUID) -> None:
    """Somebody raises the account's first grant by a credit, and computes everything that follows from it anew."""
    for table, change in RAISED.items():
        await connection.execute(f"UPDATE {table} SET {change}", account_id, MORE)  # noqa: S608 - from above
    rows = await connection.fetch("SELECT * FROM ledger_transactions WHERE account_id = $1 ORDER BY seq", account_id)
    again = Account(rows[0]["environment_id"], account_id, "", 0, 0, 0, 0, 0, 0, chain.GENESIS, "", "", [])
    for row in rows:
        lines = await connection.fetch(
            "SELECT account_name, amount_micro FROM ledger_lines WHERE account_id = $1 AND seq = $2 ORDER BY line",
            *(account_id, row["seq"]),
        )
        origin = Origin(row["actor"], row["reason"], row["idempotency_key"])
        posted = again.post(
            row["kind"],
            [(line["account_name"], line["amount_micro"]) for line in lines],
            to_at(row["posted_at"]),
            origin,
            events_digest=row["events_digest"],
        )
        await connection.execute(
            "UPDATE ledger_transactions SET total_before_micro = $3, total_after_micro = $4, previous_hash = $5, "
            "hash = $6 WHERE account_id = $1 AND seq = $2",
            *(account_id, row["seq"], posted.total_before_micro, posted.total_after_micro),
            *(posted.previous_hash, posted.hash),
        )
    await connection.execute("UPDATE accounts SET head_hash = $2 WHERE id = $1", account_id, again.head_hash)


async def rewrite_checkpoints(connection: asyncpg.Connection) -> None:
    """And the checkpoints, as if they had been taken of the new chains."""
    await connection.execute(
        "UPDATE ledger_checkpoint_heads h SET hash = t.hash FROM ledger_transactions t "
        "WHERE t.account_id = h.account_id AND t.seq = h.seq"
    )
    previous_hash = chain.GENESIS
    for row in await connection.fetch("SELECT * FROM ledger_checkpoints ORDER BY day"):
        digest = chain.RunningDigest()
        for head in await connection.fetch(
            "SELECT account_id, seq, hash FROM ledger_checkpoint_heads WHERE day = $1 ORDER BY account_id", row["day"]
        ):
            digest.add(chain.ChainedHead(head["account_id"].bytes, head["seq"], head["hash"]))
        figures: dict[str, Any] = dict(row) | {"digest": digest.value(), "previous_hash": previous_hash}
        previous_hash = Checkpoint(**figures).computed_hash()
        await connection.execute(
            "UPDATE ledger_checkpoints SET digest = $2, previous_hash = $3, hash = $4 WHERE day = $1",
            *(row["day"], figures["digest"], figures["previous_hash"], previous_hash),
        )


async def latest(url: str) -> list[Checkpoint]:
    """What `quotastack ledger checkpoint` prints."""
    database = await Database.open(url, "test", 1)
    try:
        return await checkpoints.read_latest(database, None)
    finally:
        await database.close()


def test_a_chain_that_was_computed_anew_is_found(
    postgres: EmbeddedPostgres, copy: DatabaseUrls, proved: Proved
) -> None:
    """By the head that a checkpoint has; and once the checkpoints are rewritten too, by the one outside."""
    kept = asyncio.run(latest(copy.owner))

    async def attack(*, thoroughly: bool) -> None:
        async with superuser(postgres, copy) as connection:
            if thoroughly:
                await rewrite_checkpoints(connection)
            else:
                await rewrite(connection, proved.bob)

    asyncio.run(attack(thoroughly=False))
    assert shown(verified(copy, kept)) == [(9, f"ledger_checkpoint_heads {proved.bob} seq 2")]
    asyncio.run(attack(thoroughly=True))
    assert shown(verified(copy)) == []
    [found] = shown(verified(copy, kept))
    assert found == (9, f"ledger_checkpoints {proved.environment} 2026-02-02")


def test_a_checkpoint_outside_is_compared(copy: DatabaseUrls, tmp_path: Path) -> None:
    """As it was printed; one of a day or an environment that is not here is a finding."""
    [found] = asyncio.run(latest(copy.owner))
    file = tmp_path / "checkpoint.json"
    file.write_bytes(checkpoints.show_checkpoints([found]))
    assert checkpoints.read_document(file) == [found]
    assert shown(verified(copy, [found])) == []
    elsewhere = Checkpoint(UUID(int=7), *(getattr(found, name) for name in Checkpoint.__struct_fields__[1:]))
    assert shown(verified(copy, [elsewhere])) == [(9, f"ledger_checkpoints {UUID(int=7)} {found.day}")]


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1, "checkpoints": [{}]}', '{"format": 2, "checkpoints": []}'])
def test_what_is_no_checkpoint_is_said(tmp_path: Path, text: str) -> None:
    """A file of something else compares with nothing."""
    file = tmp_path / "checkpoint.json"
    file.write_text(text)
    with pytest.raises(UnreadableCheckpoints):
        checkpoints.read_document(file)
    assert CheckpointDocument.__struct_fields__ == ("format", "checkpoints")


async def test_a_day_has_one_checkpoint_of_what_moved(copy: DatabaseUrls, proved: Proved) -> None:
    """The second of a day writes nothing, the next day's has no head where nothing was posted; all of them prove."""
    third = FIRST_DAY + timedelta(days=2)
    assert not await take_checkpoint(copy.of(JOBS), proved.environment, FIRST_DAY + timedelta(days=1, hours=3))
    taken = await asyncio.gather(*(take_checkpoint(copy.of(JOBS), proved.environment, third) for _ in range(3)))
    assert sorted(taken) == [False, False, True]
    async with connected(copy.owner) as connection:
        heads = await connection.fetch(
            "SELECT day, account_id, seq FROM ledger_checkpoint_heads ORDER BY day, account_id"
        )
        rows = await connection.fetch("SELECT day, accounts, transactions FROM ledger_checkpoints ORDER BY day")
    first, second = FIRST_DAY.date(), FIRST_DAY.date() + timedelta(days=1)
    expected = [(first, proved.ada, 4), (first, proved.bob, 2), (second, proved.ada, 9), (second, proved.eve, 4)]
    assert sorted(map(tuple, heads)) == sorted(expected)
    assert [tuple(row) for row in rows] == [(first, 2, 6), (second, 3, 15), (third.date(), 3, 15)]
    assert (await asyncio.to_thread(verified, copy)).findings == []


async def test_checkpoints_around_midnight_do_not_fork(copy: DatabaseUrls, proved: Proved) -> None:
    """Who took the checkpoint of a day late, after the next day's, takes none: each has one successor."""
    await take_checkpoint(copy.of(JOBS), proved.environment, FIRST_DAY + timedelta(days=9))
    async with connected(copy.owner) as connection:
        [row] = await connection.fetch("SELECT * FROM ledger_checkpoints WHERE day = '2026-02-02'")
        with pytest.raises(asyncpg.UniqueViolationError, match="previous_hash"):
            await connection.execute(
                "INSERT INTO ledger_checkpoints VALUES ($1, '2026-02-05', $2, 2, 11, $3, $4, $3)",
                *(row["environment_id"], row["taken_at"], row["digest"], row["hash"]),
            )


async def test_jobs_take_the_checkpoints_that_are_due(copy: DatabaseUrls, proved: Proved) -> None:
    """Of every environment, those without any event too, and of each once a day."""

    class Later(Clock):
        at = FIRST_DAY + timedelta(days=2)

        def now(self) -> Any:
            return self.at

    database, clock = await Database.open(copy.of(JOBS), "test", 1), Later()
    try:
        assert await Checkpointer(database, clock).round() == 2
        assert await Checkpointer(database, clock).round() == 0
        clock.at += timedelta(days=1)
        assert await Checkpointer(database, clock).round() == 2
    finally:
        await database.close()
    found = await latest(copy.owner)
    assert [(checkpoint.day, checkpoint.accounts) for checkpoint in found if checkpoint.accounts] == [
        (clock.at.date(), 3)
    ]
    assert proved.environment in {checkpoint.environment_id for checkpoint in found}
    assert (await asyncio.to_thread(verified, copy)).findings == []
