"""All rows of accounts, for proving them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from app.io.postgres import Record
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.statements import statements
from app.ledger.book import PostedEvent, Transaction
from app.ledger.proof import BlockRow, Finding
from app.rules.moments import to_at

_SQL = statements("app.ledger")
Owners = Sequence[tuple[UUID, UUID]]
"""(environment, account)."""


async def _fetch(tx: DatabaseTransaction, statement: str, owners: Owners) -> Sequence[Record]:
    return await tx.connection.fetch(_SQL[statement], [owner[0] for owner in owners], [owner[1] for owner in owners])


async def read_all_blocks(tx: DatabaseTransaction, owners: Owners) -> Mapping[UUID, list[BlockRow]]:
    """Every block by account, spent ones too."""
    found: dict[UUID, list[BlockRow]] = defaultdict(list)
    for row in await _fetch(tx, "read_all_blocks", owners):
        found[row["account_id"]].append(BlockRow(row["id"], row["granted_micro"], row["remaining_micro"]))
    return found


async def read_all_transactions(tx: DatabaseTransaction, owners: Owners) -> Mapping[UUID, list[Transaction]]:
    """Every transaction by account, in order, with its lines."""
    environments = {account_id: environment_id for environment_id, account_id in owners}
    found: dict[UUID, list[Transaction]] = defaultdict(list)
    for row in await _fetch(tx, "read_all_transactions", owners):
        account_id = row["account_id"]
        found[account_id].append(_transaction(environments[account_id], row))
    return found


def _transaction(environment_id: UUID, row: Record) -> Transaction:
    return Transaction(
        environment_id,
        row["account_id"],
        row["seq"],
        row["id"],
        row["kind"],
        row["actor"],
        row["reason"],
        row["idempotency_key"],
        row["total_before_micro"],
        row["total_after_micro"],
        row["events_digest"],
        to_at(row["posted_at"]),
        row["previous_hash"],
        row["hash"],
        list(zip(row["names"] or (), row["amounts"] or (), strict=True)),
    )


async def read_all_events(tx: DatabaseTransaction, owners: Owners) -> Mapping[UUID, list[PostedEvent]]:
    """Every usage event by account."""
    environments = {account_id: environment_id for environment_id, account_id in owners}
    found: dict[UUID, list[PostedEvent]] = defaultdict(list)
    for row in await _fetch(tx, "read_all_events", owners):
        account_id = row["account_id"]
        found[account_id].append(_event(environments[account_id], row))
    return found


def _event(environment_id: UUID, row: Record) -> PostedEvent:
    return PostedEvent(
        environment_id,
        row["account_id"],
        row["seq"],
        row["id"],
        row["feature_key"],
        row["units_micro"],
        row["cost_micro"],
        row["debt_micro"],
        row["draws"],
        row["price_id"],
        row["idempotency_key"],
        row["properties"],
        to_at(row["occurred_at"]),
        to_at(row["accepted_at"]),
    )


async def list_usage_gaps(
    tx: DatabaseTransaction, environment_id: UUID | None, limit: int
) -> list[tuple[UUID, Finding]]:
    """(environment, finding) of hours that are not the sum of their events; `environment_id` None = of all."""
    found: list[tuple[UUID, Finding]] = []
    for row in await tx.connection.fetch(_SQL["list_usage_gaps"], environment_id, limit):
        hour = f"usage_hours {row['account_id']} {row['feature_key']} {row['hour_at'].isoformat()}"
        said = tuple(str(row[name]) for name in ("units_micro", "cost_micro", "events"))
        summed = tuple(str(row[f"summed_{name}"]) for name in ("units_micro", "cost_micro", "events"))
        message = f"has (units, cost, events) ({', '.join(said)}), its events give ({', '.join(summed)})"
        found.append((row["environment_id"], Finding(61, hour, message)))
    return found


async def list_key_gaps(tx: DatabaseTransaction, environment_id: UUID | None, limit: int) -> list[tuple[UUID, Finding]]:
    """(environment, finding) of events without their key and keys without their event."""
    found: list[tuple[UUID, Finding]] = []
    for row in await tx.connection.fetch(_SQL["list_key_gaps"], environment_id, limit):
        table, message = ("usage_event_keys", "names no event") if row["has_key"] else ("usage_events", "has no key")
        found.append((row["environment_id"], Finding(62, f"{table} {row['id']}", message)))
    return found


async def list_orphans(tx: DatabaseTransaction, environment_id: UUID | None, limit: int) -> list[tuple[UUID, Finding]]:
    """(environment, finding) of lines and events whose transaction does not exist; `environment_id` None = of all."""
    return [
        (row["environment_id"], Finding(2, f"{row['name']} of {row['account_id']}", f"no transaction {row['seq']}"))
        for row in await tx.connection.fetch(_SQL["list_orphans"], environment_id, limit)
    ]
