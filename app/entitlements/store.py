"""Rows that snapshots are composed from, and the marks of what has still to be published."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.entitlements.counting import Billing
from app.entitlements.overriding import Override, Overrides
from app.io.postgres import Record, Transaction
from app.io.redis import LoadBegun
from app.io.statements import statements
from app.ledger import store as ledger_store
from app.ledger.book import beside_of
from app.metering import store as metering_store
from app.reservations import store as reservations_store
from app.rules.entitlement import FeatureKind, OveragePolicy
from app.rules.moments import NEVER_AT, to_at, to_datetime
from app.rules.periods import Counting, IntervalUnit
from app.rules.pricing import Price, PriceVersion, Rate, in_precedence
from app.wire import keys
from app.wire.events import parse_stream_id
from app.wire.gauges import Hold
from app.wire.held import OpenReservation
from app.wire.snapshot import AccountState, Beside, FeatureTerms

_SQL = statements("app.entitlements")
NO_SUBSCRIPTION = "none"


class Subscribed(msgspec.Struct, frozen=True):
    """An account and what it is subscribed to; version None = nothing."""

    account_id: UUID
    status: str
    variant_version_id: UUID | None
    billing: Billing | None
    posted_at: int
    counting: Counting | None


class PublishedAccount(msgspec.Struct, frozen=True):
    """Figures of an account as they are published, with the id by which its mark is cleared."""

    environment_id: UUID
    account_id: UUID
    state: AccountState


class LoadableAccount(msgspec.Struct, frozen=True):
    """An account with its open reservations and the cursor of its partition, read at one moment."""

    account: PublishedAccount
    reservations: list[OpenReservation]
    incarnation: UUID | None
    cursor: tuple[int, int]
    holds: list[Hold]
    """What is held of the account's gauges."""

    def has_drained(self, begun: LoadBegun) -> bool:
        """Whether the figures include everything that was in the stream when the load began."""
        return self.incarnation == begun.incarnation and self.cursor >= begun.stream_end


async def list_accounts(tx: Transaction) -> set[UUID]:
    """Ids of all accounts of the environment."""
    return {row["id"] for row in await tx.connection.fetch(_SQL["list_accounts"], tx.environment)}


async def list_customers_without_account(tx: Transaction, ids: set[UUID]) -> list[tuple[UUID, str]]:
    """(customer id, end user id) of those of `ids` that have no account."""
    rows = await tx.connection.fetch(_SQL["list_customers_without_account"], tx.environment, list(ids))
    return [(row["id"], row["end_user_id"]) for row in rows]


async def lock_accounts(tx: Transaction, ids: set[UUID]) -> list[Subscribed]:
    """The accounts, locked, with what they are subscribed to."""
    rows = await tx.connection.fetch(_SQL["lock_accounts_with_subscription"], tx.environment, list(ids))
    return [_subscribed(row) for row in rows]


def _subscribed(row: Record) -> Subscribed:
    billing = None
    if row["anchor_at"] is not None:
        billing = Billing(row["anchor_at"], IntervalUnit(row["interval_unit"]), row["interval_count"])
    status, version_id = row["state"] or NO_SUBSCRIPTION, row["variant_version_id"]
    return Subscribed(row["id"], status, version_id, billing, to_at(row["posted_at"]), ledger_store.counting_of(row))


async def read_feature_terms(
    tx: Transaction, versions: set[UUID], now: datetime
) -> dict[UUID | None, dict[str, FeatureTerms]]:
    """Terms of every feature by key, for each plan version and, under None, by default."""
    rates = await _read_rates(tx, versions, now)
    terms: dict[UUID | None, dict[str, FeatureTerms]] = {version: {} for version in (None, *versions)}
    for row in await tx.connection.fetch(_SQL["read_feature_terms"], tx.environment, list(versions)):
        version, key = row["variant_version_id"], row["key"]
        # A version that sets a price of its own for a feature has all prices of that feature in it.
        offered = rates.get((version, key)) or rates.get((None, key), [])
        terms[version][key] = FeatureTerms(
            offered,
            row["included"] or (version is None and (bool(offered) or row["value"] is not None)),
            OveragePolicy(row["overage_policy"] or OveragePolicy.BLOCK),
            row["limit_units_micro"],
            row["overage_limit_micro"],
            FeatureKind(row["kind"]),
            row["value"],
        )
    return terms


async def _read_rates(tx: Transaction, versions: set[UUID], now: datetime) -> dict[tuple[UUID | None, str], list[Rate]]:
    """Rates by (plan version or None, feature key), in their order of precedence: in force at `now`, and to come."""
    found: dict[tuple[UUID | None, str], dict[str, list[PriceVersion]]] = {}
    for row in await tx.connection.fetch(_SQL["read_prices"], tx.environment, list(versions), now):
        effective_at = 0 if row["begins_at"] is None else to_at(row["begins_at"])
        price = PriceVersion(effective_at, row["price_id"], msgspec.json.decode(row["price"], type=Price))
        of_feature = found.setdefault((row["variant_version_id"], row["key"]), {})
        of_feature.setdefault(row["match"], []).append(price)
    return {
        name: in_precedence(
            Rate(prices, msgspec.json.decode(match, type=dict[str, str])) for match, prices in by_match.items()
        )
        for name, by_match in found.items()
    }


async def read_overrides(tx: Transaction, account_ids: Sequence[UUID], now: datetime) -> dict[UUID, Overrides]:
    """What customers have of their own at `now`, by account; those who have nothing are not there."""
    overrides: dict[UUID, list[Override]] = {}
    for row in await tx.connection.fetch(_SQL["read_overrides"], tx.environment, account_ids, now):
        policy = None if row["overage_policy"] is None else OveragePolicy(row["overage_policy"])
        override = Override(
            row["key"],
            row["included"],
            row["value"],
            row["sets_limit"],
            row["limit_units_micro"],
            policy,
            row["overage_limit_micro"],
        )
        overrides.setdefault(row["customer_id"], []).append(override)
    return {account_id: tuple(own) for account_id, own in overrides.items()}


async def read_event_types(tx: Transaction) -> dict[str, dict[str, str | None]]:
    """By type of a CloudEvent, then by feature that reads it: where the units are (`PlanSnapshot.event_types`)."""
    readers: dict[str, dict[str, str | None]] = {}
    for row in await tx.connection.fetch(_SQL["read_event_types"], tx.environment):
        readers.setdefault(row["event_type"], {})[row["key"]] = row["units_from"]
    return readers


async def insert_snapshots(tx: Transaction, snapshots: dict[str, bytes], now: datetime) -> None:
    """Keep the contents of snapshots by their ids."""
    await tx.connection.execute(
        _SQL["insert_snapshots"], tx.environment, list(snapshots), list(snapshots.values()), now
    )


async def update_accounts(tx: Transaction, composed: Sequence[tuple[Subscribed, str]]) -> None:
    """Set (account, snapshot id), raise the revisions, and mark the accounts dirty with them."""
    rows = await tx.connection.fetch(
        _SQL["update_accounts"],
        tx.environment,
        [subscribed.account_id for subscribed, _ in composed],
        [snapshot_id for _, snapshot_id in composed],
        [subscribed.status for subscribed, _ in composed],
    )
    await tx.connection.execute(
        _SQL["mark_dirty"], tx.environment, [row["id"] for row in rows], [row["revision"] for row in rows]
    )


async def update_counting(tx: Transaction, changed: Mapping[UUID, Counting | None]) -> None:
    """How units of locked accounts are counted from now on."""
    if not changed:
        return
    blocks = await ledger_store.read_block_boundaries(tx, list(changed))
    periods = [None if counting is None else counting.period for counting in changed.values()]
    ends = [NEVER_AT if period is None else period.end_at for period in periods]
    boundaries = [min(blocks[account_id], end_at) for account_id, end_at in zip(changed, ends, strict=True)]
    await tx.connection.execute(
        _SQL["update_counting"],
        tx.environment,
        list(changed),
        [
            None if counting is None else msgspec.json.encode(counting.calendar).decode()
            for counting in changed.values()
        ],
        [None if period is None else to_datetime(period.start_at) for period in periods],
        [None if period is None else to_datetime(period.end_at) for period in periods],
        [None if at == NEVER_AT else to_datetime(at) for at in boundaries],
    )


async def read_accounts(tx: Transaction, accounts: Sequence[tuple[UUID, UUID]]) -> list[PublishedAccount]:
    """Figures of (environment, account), as they are published."""
    environments, ids = [a[0] for a in accounts], [a[1] for a in accounts]
    return [_published(row) for row in await tx.connection.fetch(_SQL["read_accounts"], environments, ids)]


async def read_account_at_cursor(
    tx: Transaction, environment_id: UUID, end_user_id: str, partition: int
) -> LoadableAccount | None:
    """An account to be loaded, with its partition's cursor; None for an unknown customer.

    Of one moment only in a transaction that sees one (`repeatable_read`): what it holds is read for itself.
    """
    row = await tx.connection.fetchrow(_SQL["read_account_at_cursor"], environment_id, end_user_id, partition)
    if row is None:
        return None
    cursor = (0, 0) if row["last_id"] is None else parse_stream_id(row["last_id"].encode())
    reservations: list[OpenReservation] = []
    if row["open_reservations"]:
        reservations = await reservations_store.list_open(tx, environment_id, row["id"])
    holds = await metering_store.read_holds(tx, row["id"])
    return LoadableAccount(_published(row), reservations, row["incarnation"], cursor, holds)


def _published(row: Record) -> PublishedAccount:
    ref = keys.account_ref(keys.environment_ref(row["environment_id"]), row["end_user_id"])
    beside = _beside(row)
    state = AccountState(
        ref,
        row["revision"],
        row["total_micro"],
        row["applied_micro"],
        NEVER_AT if row["valid_until"] is None else to_at(row["valid_until"]),
        max(to_at(row["posted_at"]), beside.period_at),
        row["snapshot_id"],
        row["subscription_status"],
        beside=beside,
    )
    return PublishedAccount(row["environment_id"], row["id"], state)


def _beside(row: Record) -> Beside:
    counters = zip(row["counted_features"] or (), row["counted_units"] or (), strict=True)
    used = [(feature_key, int(units)) for feature_key, units in counters]
    return beside_of(row["reserved_micro"], row["open_reservations"], ledger_store.counting_of(row), used)


async def read_snapshot(tx: Transaction, environment_id: UUID, snapshot_id: str) -> bytes | None:
    """The content of a snapshot; None where there is none of that id."""
    return await tx.connection.fetchval(_SQL["read_snapshot"], environment_id, snapshot_id)


async def list_dirty(tx: Transaction, limit: int) -> list[tuple[UUID, UUID]]:
    """(environment, account) whose publishing was left undone."""
    rows = await tx.connection.fetch(_SQL["list_dirty"], limit)
    return [(row["environment_id"], row["account_id"]) for row in rows]


async def clear_dirty(tx: Transaction, published: Sequence[PublishedAccount]) -> None:
    """Remove the marks that these publishes have caught up with."""
    await tx.connection.execute(
        _SQL["clear_dirty"],
        [account.environment_id for account in published],
        [account.account_id for account in published],
        [account.state.revision for account in published],
    )
