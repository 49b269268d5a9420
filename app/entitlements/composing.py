"""The one builder of plan snapshots: what accounts may do, as it stands when their transaction ends."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from app.entitlements import store
from app.entitlements.counting import counting_from
from app.entitlements.overriding import Overrides, override_features
from app.entitlements.store import Subscribed
from app.io.postgres import Transaction
from app.ledger import service as ledger
from app.rules.entitlement import Standing, standing_of
from app.rules.moments import to_at
from app.rules.periods import Counting
from app.trail import dirty
from app.wire.snapshot import PlanSnapshot, encode_plan

SNAPSHOT_CHUNK = 500
"""Snapshots that are composed and kept together: customers with overrides have one each."""


class Composition(msgspec.Struct, frozen=True):
    """What a snapshot follows from."""

    version_id: UUID | None
    """Of the plan; None = no subscription."""
    standing: Standing
    overrides: Overrides


class Composed(msgspec.Struct, frozen=True):
    """The id of a snapshot, and whether units of any of its features are counted."""

    id: str
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
    # A statement of its own: it sees what was committed by those whom the lock has waited for.
    overrides = await store.read_overrides(tx, [account.account_id for account in accounts], now)
    compositions = {account.account_id: _composition(account, overrides) for account in accounts}
    snapshots = await _snapshots(tx, set(compositions.values()), now)
    composed = {account_id: snapshots[composition] for account_id, composition in compositions.items()}
    await store.update_accounts(tx, [(account, composed[account.account_id].id) for account in accounts])
    counting = {
        account.account_id: _counting(account, now, zone) if composed[account.account_id].counts else None
        for account in accounts
    }
    changed = [account.account_id for account in accounts if counting[account.account_id] != account.counting]
    await store.update_counting(tx, {account_id: counting[account_id] for account_id in changed})


def _composition(account: Subscribed, overrides: Mapping[UUID, Overrides]) -> Composition:
    own = overrides.get(account.account_id, ())
    return Composition(account.variant_version_id, standing_of(account.status), own)


def _counting(account: Subscribed, now: datetime, zone: str) -> Counting:
    return counting_from(account.counting, account.billing, zone, max(to_at(now), account.posted_at))


async def _snapshots(tx: Transaction, compositions: set[Composition], now: datetime) -> dict[Composition, Composed]:
    """The snapshots of these compositions, which are kept by then."""
    versions = {composition.version_id for composition in compositions}
    terms = await store.read_feature_terms(tx, {version for version in versions if version is not None}, now)
    event_types = await store.read_event_types(tx)
    composed: dict[Composition, Composed] = {}
    ordered = list(compositions)
    for start in range(0, len(ordered), SNAPSHOT_CHUNK):
        contents: dict[str, bytes] = {}
        for composition in ordered[start : start + SNAPSHOT_CHUNK]:
            subscribed = composition.version_id is not None
            features = override_features(terms[composition.version_id], composition.overrides, subscribed=subscribed)
            snapshot = PlanSnapshot(tx.environment, subscribed, features, event_types, composition.standing)
            snapshot_id, content = encode_plan(snapshot)
            contents[snapshot_id] = content
            composed[composition] = Composed(snapshot_id, snapshot.counts)
        await store.insert_snapshots(tx, contents, now)
    return composed
