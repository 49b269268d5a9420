"""The one builder of plan snapshots: what accounts may do, as it stands when their transaction ends."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.entitlements import store
from app.entitlements.counting import counting_from
from app.entitlements.store import Subscribed
from app.io.postgres import Transaction
from app.ledger import service as ledger
from app.rules.entitlement import Standing, standing_of
from app.rules.moments import to_at
from app.rules.periods import Counting
from app.trail import dirty
from app.wire.snapshot import PlanSnapshot, encode_plan

Composition = tuple[UUID | None, Standing]
"""What a snapshot follows from: a plan version (None = no subscription) and the standing of those who are on it."""


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
    snapshots = await _snapshots(tx, {_composition(account) for account in accounts}, now)
    await store.insert_snapshots(tx, {composed.id: composed.content for composed in snapshots.values()}, now)
    await store.update_accounts(tx, [(account, snapshots[_composition(account)].id) for account in accounts])
    counting = {
        account.account_id: _counting(account, now, zone) if snapshots[_composition(account)].counts else None
        for account in accounts
    }
    changed = [account.account_id for account in accounts if counting[account.account_id] != account.counting]
    await store.update_counting(tx, {account_id: counting[account_id] for account_id in changed})


def _composition(account: Subscribed) -> Composition:
    return account.variant_version_id, standing_of(account.status)


def _counting(account: Subscribed, now: datetime, zone: str) -> Counting:
    return counting_from(account.counting, account.billing, zone, max(to_at(now), account.posted_at))


async def _snapshots(tx: Transaction, compositions: set[Composition], now: datetime) -> dict[Composition, Composed]:
    terms = await store.read_feature_terms(tx, {version for version, _ in compositions if version is not None}, now)
    event_types = await store.read_event_types(tx)
    composed = {
        (version, standing): PlanSnapshot(tx.environment, version is not None, terms[version], event_types, standing)
        for version, standing in compositions
    }
    return {name: Composed(*encode_plan(snapshot), snapshot.counts) for name, snapshot in composed.items()}
