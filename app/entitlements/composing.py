"""The one builder of plan snapshots: what accounts may do, as it stands when their transaction ends."""

from datetime import datetime
from uuid import UUID

from app.entitlements import store
from app.entitlements.store import Subscribed
from app.io.postgres import Transaction
from app.ledger import service as ledger
from app.rules.entitlement import Standing, standing_of
from app.trail import dirty
from app.wire.snapshot import PlanSnapshot, encode_plan

Composition = tuple[UUID | None, Standing]
"""What a snapshot follows from: a plan version (None = no subscription) and the standing of those who are on it."""


async def compose_marked(tx: Transaction, now: datetime) -> None:
    """Before a transaction commits: compose every marked account anew, making accounts of customers that have none.

    Raises the accounts' revisions and leaves their dirty marks; `tx.marked` ends as the accounts to be published.
    """
    if tx.whole_environment:
        await dirty.change_catalogue(tx)
        tx.marked |= await store.list_accounts(tx)
    else:
        await dirty.hold_catalogue(tx)
    for customer_id, end_user_id in await store.list_customers_without_account(tx, tx.marked):
        await ledger.ensure_account(tx, customer_id, end_user_id, now)
    accounts = await store.lock_accounts(tx, tx.marked)
    snapshots = await _snapshots(tx, {_composition(account) for account in accounts}, now)
    await store.insert_snapshots(tx, dict(snapshots.values()), now)
    await store.update_accounts(tx, [(account, snapshots[_composition(account)][0]) for account in accounts])


def _composition(account: Subscribed) -> Composition:
    return account.variant_version_id, standing_of(account.status)


async def _snapshots(
    tx: Transaction, compositions: set[Composition], now: datetime
) -> dict[Composition, tuple[str, bytes]]:
    terms = await store.read_feature_terms(tx, {version for version, _ in compositions if version is not None}, now)
    event_types = await store.read_event_types(tx)
    return {
        (version, standing): encode_plan(
            PlanSnapshot(tx.environment, version is not None, terms[version], event_types, standing)
        )
        for version, standing in compositions
    }
