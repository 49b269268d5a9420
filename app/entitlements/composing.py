"""The one builder of plan snapshots: what accounts may do, as it stands when their transaction ends."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.entitlements import store
from app.entitlements.counting import counting_from
from app.entitlements.store import Subscribed
from app.io.postgres import Transaction
from app.ledger import service as ledger
from app.rules.moments import to_at
from app.rules.periods import Counting
from app.trail import dirty
from app.wire.snapshot import PlanSnapshot, encode_plan


class Composed(msgspec.Struct, frozen=True):
    """A snapshot, and whether units of any of its features are counted."""

    id: str
    content: bytes
    counts: bool


async def compose_marked(tx: Transaction, now: datetime, zone: str) -> None:
    """Before a transaction commits: compose every marked account anew, making accounts of customers that have none.

    Raises the accounts' revisions and leaves their dirty marks; `tx.marked` ends as the accounts to be published.
    `zone` is the billing zone, in which periods are counted.
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
    await store.insert_snapshots(tx, {composed.id: composed.content for composed in snapshots.values()}, now)
    await store.update_accounts(tx, [(account, snapshots[account.variant_version_id].id) for account in accounts])
    counting = {
        account.account_id: _counting(account, now, zone) if snapshots[account.variant_version_id].counts else None
        for account in accounts
    }
    changed = [account.account_id for account in accounts if counting[account.account_id] != account.counting]
    await store.update_counting(tx, {account_id: counting[account_id] for account_id in changed})


def _counting(account: Subscribed, now: datetime, zone: str) -> Counting:
    return counting_from(account.counting, account.billing, zone, max(to_at(now), account.posted_at))


async def _snapshots(tx: Transaction, versions: set[UUID | None], now: datetime) -> dict[UUID | None, Composed]:
    terms = await store.read_feature_terms(tx, {version for version in versions if version is not None}, now)
    event_types = await store.read_event_types(tx)
    composed = {
        version: PlanSnapshot(tx.environment, version is not None, terms[version], event_types) for version in versions
    }
    return {version: Composed(*encode_plan(snapshot), snapshot.counts) for version, snapshot in composed.items()}
