"""The one builder of plan snapshots: what accounts may do, as it stands when their transaction ends."""

from datetime import datetime
from uuid import UUID

from app.entitlements import store
from app.io.postgres import Transaction
from app.ledger import service as ledger
from app.trail import dirty
from app.wire.snapshot import PlanSnapshot, encode_plan


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
    versions = {account.variant_version_id for account in accounts}
    snapshots = await _snapshots(tx, versions, now)
    await store.insert_snapshots(tx, dict(snapshots.values()), now)
    await store.update_accounts(tx, [(account, snapshots[account.variant_version_id][0]) for account in accounts])


async def _snapshots(
    tx: Transaction, versions: set[UUID | None], now: datetime
) -> dict[UUID | None, tuple[str, bytes]]:
    terms = await store.read_feature_terms(tx, {version for version in versions if version is not None}, now)
    event_types = await store.read_event_types(tx)
    return {
        version: encode_plan(PlanSnapshot(tx.environment, version is not None, terms[version], event_types))
        for version in versions
    }
