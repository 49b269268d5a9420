"""Rows that snapshots are composed from, and the marks of what has still to be published."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.entitlements.combining import InForce, Subscribed, subscribed_to
from app.entitlements.overriding import Override, OwnTerms
from app.io.postgres import Record, Transaction
from app.io.redis import LoadBegun
from app.io.statements import statements
from app.ledger import store as ledger_store
from app.ledger.book import beside_of
from app.metering import store as metering_store
from app.reservations import store as reservations_store
from app.rules.boundaries import boundary_of_account
from app.rules.entitlement import FeatureKind, OveragePolicy
from app.rules.lifecycle import State
from app.rules.moments import to_at, to_datetime
from app.rules.periods import Counting, Period
from app.rules.pricing import Price, PriceVersion, Rate, in_precedence
from app.rules.terms import PlanKind
from app.wire import keys
from app.wire.events import parse_stream_id
from app.wire.gauges import Hold
from app.wire.held import OpenReservation
from app.wire.snapshot import AccountState, Beside, FeatureTerms

_SQL = statements("app.entitlements")


class LockedAccount(msgspec.Struct, frozen=True):
    """An account before it is composed anew, as far as that asks for it."""

    account_id: UUID
    posted_at: int
    counting: Counting | None
    agenda_at: int
    composed_until: int


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


async def lock_accounts(tx: Transaction, ids: set[UUID]) -> list[LockedAccount]:
    """The accounts, locked."""
    rows = await tx.connection.fetch(_SQL["lock_accounts"], tx.environment, list(ids))
    return [
        LockedAccount(
            row["id"],
            to_at(row["posted_at"]),
            ledger_store.counting_of(row),
            ledger_store.at_of(row["agenda_at"]),
            ledger_store.at_of(row["composed_until"]),
        )
        for row in rows
    ]


async def read_subscribed(tx: Transaction, environment_id: UUID, account_ids: Sequence[UUID]) -> dict[UUID, Subscribed]:
    """What customers are subscribed to, by account; those to whom that is nothing are not there."""
    found: dict[UUID, list[InForce]] = {}
    for row in await tx.connection.fetch(_SQL["read_subscriptions_in_force"], environment_id, account_ids):
        subscription = InForce(
            row["variant_version_id"],
            PlanKind(row["plan_kind"]),
            State(row["state"]),
            Period(to_at(row["counted_from"]), to_at(row["period_end_at"])),
            row["allow_usage_while_overdue"],
            row["usable_while_paused"],
        )
        found.setdefault(row["customer_id"], []).append(subscription)
    return {account_id: subscribed_to(subscriptions) for account_id, subscriptions in found.items()}


async def read_feature_terms(
    tx: Transaction, environment_id: UUID, versions: set[UUID], prices_at: int
) -> dict[UUID | None, dict[str, FeatureTerms]]:
    """Terms of every feature by key, for each plan version and, under None, by default.

    Prices are those in force at `prices_at`, and those to come after it.
    """
    rates = await _read_rates(tx, environment_id, versions, to_datetime(prices_at))
    terms: dict[UUID | None, dict[str, FeatureTerms]] = {version: {} for version in (None, *versions)}
    for row in await tx.connection.fetch(_SQL["read_feature_terms"], environment_id, list(versions)):
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


async def _read_rates(
    tx: Transaction, environment_id: UUID, versions: set[UUID], at: datetime
) -> dict[tuple[UUID | None, str], list[Rate]]:
    """Rates by (plan version or None, feature key), in their order of precedence: in force at a moment, and to come."""
    found: dict[tuple[UUID | None, str], dict[str, list[PriceVersion]]] = {}
    for row in await tx.connection.fetch(_SQL["read_prices"], environment_id, list(versions), at):
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


async def read_overrides(tx: Transaction, environment_id: UUID, moments: Mapping[UUID, int]) -> dict[UUID, OwnTerms]:
    """What customers have of their own at the moments of their accounts; those who have nothing are not there."""
    overrides: dict[UUID, list[Override]] = {}
    until: dict[UUID, int] = {}
    at = [to_datetime(moment) for moment in moments.values()]
    for row in await tx.connection.fetch(_SQL["read_overrides"], environment_id, list(moments), at):
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
        account_id, expires_at = row["customer_id"], ledger_store.at_of(row["expires_at"])
        overrides.setdefault(account_id, []).append(override)
        until[account_id] = min(until.get(account_id, expires_at), expires_at)
    return {account_id: OwnTerms(tuple(own), until[account_id]) for account_id, own in overrides.items()}


async def read_event_types(tx: Transaction, environment_id: UUID) -> dict[str, dict[str, str | None]]:
    """By type of a CloudEvent, then by feature that reads it: where the units are (`PlanSnapshot.event_types`)."""
    readers: dict[str, dict[str, str | None]] = {}
    for row in await tx.connection.fetch(_SQL["read_event_types"], environment_id):
        readers.setdefault(row["event_type"], {})[row["key"]] = row["units_from"]
    return readers


async def insert_snapshots(
    tx: Transaction, environment_id: UUID, snapshots: Mapping[str, bytes], now: datetime
) -> None:
    """Keep the contents of snapshots by their ids, in one order: whoever inserts the same one waits."""
    ids = sorted(snapshots)
    contents = [snapshots[snapshot_id] for snapshot_id in ids]
    await tx.connection.execute(_SQL["insert_snapshots"], environment_id, ids, contents, now)


async def update_accounts(tx: Transaction, composed: Mapping[UUID, tuple[str, str]]) -> None:
    """Set (snapshot id, status) of accounts, raise the revisions, and mark the accounts dirty with them."""
    rows = await tx.connection.fetch(
        _SQL["update_accounts"],
        tx.environment,
        list(composed),
        [snapshot_id for snapshot_id, _ in composed.values()],
        [status for _, status in composed.values()],
    )
    await tx.connection.execute(
        _SQL["mark_dirty"], tx.environment, [row["id"] for row in rows], [row["revision"] for row in rows]
    )


async def update_boundaries(tx: Transaction, moved: Sequence[LockedAccount]) -> None:
    """How units of locked accounts are counted from now on, until when their snapshots hold, and what follows."""
    if not moved:
        return
    blocks = await ledger_store.read_block_boundaries(tx, [account.account_id for account in moved])
    periods = [None if account.counting is None else account.counting.period for account in moved]
    boundaries = [boundary_of_account(blocks[a.account_id], a.counting, a.agenda_at, a.composed_until) for a in moved]
    await tx.connection.execute(
        _SQL["update_boundaries"],
        tx.environment,
        [account.account_id for account in moved],
        [ledger_store.calendar_text(account.counting) for account in moved],
        [None if period is None else to_datetime(period.start_at) for period in periods],
        [None if period is None else to_datetime(period.end_at) for period in periods],
        [ledger_store.moment_of(account.composed_until) for account in moved],
        [ledger_store.moment_of(at) for at in boundaries],
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
    published = _published(row)
    if row["frozen_at"] is not None:
        state = msgspec.structs.replace(published.state, frozen_at=to_at(row["frozen_at"]))
        published = msgspec.structs.replace(published, state=state)
    return LoadableAccount(published, reservations, row["incarnation"], cursor, holds)


def _published(row: Record) -> PublishedAccount:
    ref = keys.account_ref(keys.environment_ref(row["environment_id"]), row["end_user_id"])
    beside = _beside(row)
    state = AccountState(
        ref,
        row["revision"],
        row["total_micro"],
        row["applied_micro"],
        ledger_store.at_of(row["valid_until"]),
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
