"""The one builder of plan snapshots: what accounts may do, as it stands when their transaction ends."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.entitlements import store
from app.entitlements.combining import NOT_SUBSCRIBED, Subscribed, combine_features
from app.entitlements.counting import counting_from
from app.entitlements.overriding import NOTHING_OWN, Overrides, OwnTerms, override_features
from app.entitlements.store import LockedAccount
from app.io.postgres import Transaction
from app.ledger import service as ledger
from app.ledger.book import Account
from app.rules.entitlement import Standing
from app.rules.moments import to_at
from app.rules.periods import Counting
from app.trail import dirty
from app.wire.snapshot import FeatureTerms, PlanSnapshot, encode_plan

SNAPSHOT_CHUNK = 500
"""Snapshots that are composed and kept together: customers with overrides have one each."""


class AccountAt(msgspec.Struct, frozen=True):
    """An account that the caller holds locked, and the moment as of which it is composed."""

    account_id: UUID
    at: int
    counting: Counting | None
    """As it is so far."""


class Composed(msgspec.Struct, frozen=True):
    """What was composed for an account."""

    snapshot_id: str
    snapshot: bytes
    """Its content."""
    subscription_status: str
    counting: Counting | None
    """None = the snapshot counts nothing."""
    composed_until: int
    """From then on another snapshot holds."""


class Composition(msgspec.Struct, frozen=True):
    """What a snapshot follows from."""

    base_version: UUID | None
    """None = no base subscription."""
    addon_versions: tuple[UUID, ...]
    standing: Standing
    overrides: Overrides


class Snapshot(msgspec.Struct, frozen=True):
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
    locked = await store.lock_accounts(tx, tx.marked)
    asked = [AccountAt(found.account_id, max(to_at(now), found.posted_at), found.counting) for found in locked]
    composed = await compose(tx, tx.environment, asked, zone, now)
    named = {account_id: (found.snapshot_id, found.subscription_status) for account_id, found in composed.items()}
    await store.update_accounts(tx, named)
    moved = [_moved(found, composed[found.account_id]) for found in locked]
    await store.update_boundaries(tx, [after for before, after in zip(locked, moved, strict=True) if after != before])


async def compose(
    tx: Transaction, environment_id: UUID, accounts: Sequence[AccountAt], zone: str, now: datetime
) -> dict[UUID, Composed]:
    """What holds for each of these accounts of an environment, by id; the snapshots are kept by then, and nothing else.

    Everything is read after the accounts were locked, so it includes what those committed whom the locks waited for.
    Whoever holds an account also keeps the catalogue of its environment as it is: to change that takes all accounts.
    """
    if not accounts:
        return {}
    subscribed = await store.read_subscribed(tx, environment_id, [account.account_id for account in accounts])
    own = await store.read_overrides(tx, environment_id, {account.account_id: account.at for account in accounts})
    found = {
        account: (subscribed.get(account.account_id, NOT_SUBSCRIBED), own.get(account.account_id, NOTHING_OWN))
        for account in accounts
    }
    compositions = {account: _composition(*holds) for account, holds in found.items()}
    # Prices that hold at the earliest moment, and all that are to come after it: right for every later one.
    prices_at = min(account.at for account in accounts)
    snapshots = await _snapshots(tx, environment_id, set(compositions.values()), prices_at, now)
    return {
        account.account_id: _composed(account, *holds, snapshots[compositions[account]], zone)
        for account, holds in found.items()
    }


def apply(account: Account, composed: Composed) -> None:
    """Have the working copy of an account say what was composed for it."""
    account.snapshot_id = composed.snapshot_id
    account.subscription_status = composed.subscription_status
    account.counting = composed.counting
    account.composed_until = composed.composed_until


def _moved(account: LockedAccount, composed: Composed) -> LockedAccount:
    return msgspec.structs.replace(account, counting=composed.counting, composed_until=composed.composed_until)


def _composition(subscribed: Subscribed, own: OwnTerms) -> Composition:
    base_version = None if subscribed.base is None else subscribed.base.version_id
    return Composition(base_version, subscribed.addon_versions, subscribed.standing, own.overrides)


def _composed(account: AccountAt, subscribed: Subscribed, own: OwnTerms, snapshot: Snapshot, zone: str) -> Composed:
    counting = None
    if snapshot.counts:
        counted = None if subscribed.base is None else subscribed.base.counted
        counting = counting_from(account.counting, counted, zone, account.at)
    return Composed(snapshot.id, snapshot.content, subscribed.status, counting, own.until_at)


async def _snapshots(
    tx: Transaction, environment_id: UUID, compositions: set[Composition], prices_at: int, now: datetime
) -> dict[Composition, Snapshot]:
    """The snapshots of these compositions, which are kept by then."""
    versions = {version for composition in compositions for version in composition.addon_versions}
    versions |= {found.base_version for found in compositions if found.base_version is not None}
    terms = await store.read_feature_terms(tx, environment_id, versions, prices_at)
    event_types = await store.read_event_types(tx, environment_id)
    found: dict[Composition, Snapshot] = {}
    ordered = list(compositions)
    for start in range(0, len(ordered), SNAPSHOT_CHUNK):
        contents: dict[str, bytes] = {}
        for composition in ordered[start : start + SNAPSHOT_CHUNK]:
            features = _features(composition, terms)
            subscribed = composition.base_version is not None
            snapshot = PlanSnapshot(environment_id, subscribed, features, event_types, composition.standing)
            snapshot_id, content = encode_plan(snapshot)
            contents[snapshot_id] = content
            found[composition] = Snapshot(snapshot_id, content, snapshot.counts)
        await store.insert_snapshots(tx, environment_id, contents, now)
    return found


def _features(
    composition: Composition, terms: Mapping[UUID | None, dict[str, FeatureTerms]]
) -> dict[str, FeatureTerms]:
    addons = [terms[version] for version in composition.addon_versions]
    combined = combine_features(terms[composition.base_version], addons)
    return override_features(combined, composition.overrides, subscribed=composition.base_version is not None)
