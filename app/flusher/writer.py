"""One batch, one transaction: fence, lock, decide, apply, cursor. What it commits has happened; nothing else has."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec

from app.corrections import store as corrections_store
from app.entitlements import composing
from app.entitlements.composing import AccountAt
from app.environments import store as environments_store
from app.flusher import store
from app.flusher.batch import post_batch, unstorable
from app.flusher.closing import close_periods
from app.flusher.memory import Cursor
from app.flusher.posting import Entries, Posting
from app.flusher.store import Fenced, RejectedFrom
from app.flusher.telling import tell_rejected
from app.io.clock import Clock
from app.io.postgres import Database, Transaction, UniqueViolationError
from app.ledger import store as ledger_store
from app.ledger.book import Account
from app.ledger.store import MonthMissing
from app.ledger.targets import Targets
from app.metering import store as metering_store
from app.orders import store as orders_store
from app.reservations import store as reservations_store
from app.rules.moments import to_datetime
from app.subscriptions import store as subscriptions_store
from app.subscriptions.reading import read_courses, read_subscribers
from app.trail import outbox
from app.wire import keys
from app.wire.events import StreamEntry
from app.wire.orders import Order, SubscriptionOrder, VoidUsage


class Batch(msgspec.Struct, frozen=True):
    """Entries of several partitions, each list in stream order and directly after its cursor."""

    cursors: dict[int, Cursor]
    """Where each partition was read from."""
    entries: dict[int, Entries]

    def split(self) -> "list[tuple[int, Entries]]":
        """The batch in smaller parts, by partition: each partition by itself, or the two halves of the only one."""
        if len(self.entries) > 1:
            return list(self.entries.items())
        [(partition, entries)] = self.entries.items()
        middle = len(entries) // 2
        return [(partition, entries[:middle]), (partition, entries[middle:])]

    def rejecting(self, reason: str) -> "Batch":
        """The same entries, all of them to be rejected."""
        rejected: dict[int, Entries] = {
            partition: [unstorable(entry, reason) for entry in entries] for partition, entries in self.entries.items()
        }
        return Batch(self.cursors, rejected)

    def size(self) -> int:
        """How many entries there are."""
        return sum(map(len, self.entries.values()))

    def ends(self) -> dict[int, Cursor]:
        """Where each partition's cursor stands after this batch."""
        return {
            partition: Cursor(self.cursors[partition].incarnation, entries[-1].stream_id)
            for partition, entries in self.entries.items()
        }


class Writer:
    """Posts batches for one owner of partitions."""

    def __init__(self, database: Database, clock: Clock, owner: UUID, zone: str) -> None:
        self._database = database
        self._zone = zone
        self._clock = clock
        self._owner = owner
        self._expects_duplicates = False
        """The last batch had some, as after a loss of memory: the ledger is asked beforehand which events it has."""

    async def post(self, batch: Batch) -> Posting:
        """Post a batch and move its cursors, in one transaction.

        Raises Fenced where a lease or a cursor is no longer ours; then nothing was committed.
        """
        try:
            return await self._post_expecting(batch)
        except MonthMissing:  # jobs make partitions ahead, unless nobody lets them run
            await self._database.run(None, partial(ledger_store.make_usage_partitions, moments=_accepted(batch)))
        return await self._post_expecting(batch)

    async def _post_expecting(self, batch: Batch) -> Posting:
        """Post without asking which events the ledger has; ask where it turns out to have one, or had lately.

        Who asked may have to ask again: another batch may just have taken a payment reference that was free then. It
        has committed by the time in which that shows, so who asks once more finds it.
        """
        for asks in (self._expects_duplicates, True):
            with suppress(UniqueViolationError):  # the ledger has one of them, and nothing was committed
                return await self._post_once(batch, asks=asks)
        return await self._post_once(batch, asks=True)

    async def _post_once(self, batch: Batch, *, asks: bool) -> Posting:
        posting = await self._database.run(None, partial(self._post, batch=batch, asks=asks))
        self._expects_duplicates = posting.duplicates > 0
        return posting

    async def _post(self, tx: Transaction, *, batch: Batch, asks: bool) -> Posting:
        now = self._clock.now()
        await self._fence(tx, batch.cursors)
        posting = await self._decide(tx, batch, asks=asks)
        await _write(tx, posting, _with_incarnation(batch, posting), now)
        await self._compose(tx, posting, now)
        await ledger_store.update_accounts(tx, list(posting.accounts.values()))
        await store.write_cursors(tx, batch.ends(), now)
        return posting

    async def _compose(self, tx: Transaction, posting: Posting, now: datetime) -> None:
        """Have the accounts of which that changed say what holds for them now.

        Subscriptions and counters are written by then. Where the period is another, it may have been counted in before.
        """
        changed: dict[UUID, list[Account]] = defaultdict(list)
        for account in posting.accounts.values():
            if account.id in posting.recompose:
                changed[account.environment_id].append(account)
        for environment_id, accounts in changed.items():
            asked = [AccountAt(a.id, max(posting.recompose[a.id], a.posted_at), a.counting) for a in accounts]
            composed = await composing.compose(tx, environment_id, asked, self._zone, now)
            moved = [account for account in accounts if account.counting != composed[account.id].counting]
            for account in accounts:
                composing.apply(account, composed[account.id])
            posting.snapshots |= {found.snapshot_id: found.snapshot for found in composed.values()}
            await ledger_store.read_counters(tx, moved)

    async def begin(self, incarnations: Mapping[int, UUID]) -> dict[int, Cursor]:
        """Put the cursors of partitions before the first entry of a new incarnation."""
        cursors = {partition: Cursor(incarnation, (0, 0)) for partition, incarnation in incarnations.items()}

        async def work(tx: Transaction) -> None:
            await store.fence(tx, incarnations, self._owner)
            await store.write_cursors(tx, cursors, self._clock.now())

        await self._database.run(None, work)
        return cursors

    async def _fence(self, tx: Transaction, cursors: Mapping[int, Cursor]) -> None:
        stored = await store.fence(tx, cursors, self._owner)
        moved = [partition for partition, cursor in cursors.items() if stored[partition] != cursor]
        if moved:
            message = f"cursors moved: {moved}"
            raise Fenced(message)

    async def _decide(self, tx: Transaction, batch: Batch, *, asks: bool) -> Posting:
        entries = [entry for partition in batch.entries.values() for entry in partition]
        customers = customers_of({entry.ref for entry in entries})
        locked = await ledger_store.lock_accounts(tx, list(customers))
        thresholds = await environments_store.list_thresholds(tx, {account.environment_id for account in locked})
        for account in locked:
            account.thresholds = thresholds.get(account.environment_id, ())
        accounts = {customers[account.environment_id, account.end_user_id]: account for account in locked}
        orders, named = _orders(entries, accounts), _reservations(entries, accounts)
        until_at = max(_latest(entries), default=0)
        # What an order speaks of must not be decided by an event that turns out to be there already. A commit is an
        # event too: whether the ledger has it decides what becomes of its reservation.
        asked = _events(entries, accounts) if asks or orders else []
        posted = await ledger_store.find_posted_events(tx, [*asked, *named])
        held = await reservations_store.read_named(tx, named) if named else {}
        targets = await corrections_store.read_targets(tx, orders, held) if orders or held else Targets()
        aside = await read_courses(tx, locked, targets.blocks.values())
        targets.courses |= aside.courses
        due = [account for account in locked if account.agenda_at <= until_at or account.id in aside.customers]
        due += [account for account, order in orders if isinstance(order, VoidUsage)]  # its period may be closed
        ordered = [(account, order) for account, order in orders if isinstance(order, SubscriptionOrder)]
        subscribers = await read_subscribers(tx, due, ordered, self._zone)
        return post_batch(accounts, entries, posted, targets, subscribers)


def customers_of(refs: Iterable[bytes]) -> dict[tuple[UUID, str], bytes]:
    """Refs by (environment, end user id). One that cannot be read is nobody's: no account has it."""
    customers: dict[tuple[UUID, str], bytes] = {}
    for ref in refs:
        with suppress(ValueError):  # the batch rejects its entries, for want of an account
            customers[keys.parse_account_ref(ref)] = ref
    return customers


def _latest(entries: Entries) -> Iterable[int]:
    """Up to when time may come with these entries."""
    return (entry.accepted_at for entry in entries if isinstance(entry, StreamEntry))


def _events(entries: Entries, accounts: Mapping[bytes, Account]) -> list[tuple[UUID, UUID]]:
    return [
        (accounts[entry.ref].environment_id, entry.payload.event_id)
        for entry in entries
        if isinstance(entry, StreamEntry) and entry.payload is not None and entry.ref in accounts
    ]


def _orders(entries: Entries, accounts: Mapping[bytes, Account]) -> list[tuple[Account, Order]]:
    return [
        (accounts[entry.ref], entry.order)
        for entry in entries
        if isinstance(entry, StreamEntry) and entry.order is not None and entry.ref in accounts
    ]


def _reservations(entries: Entries, accounts: Mapping[bytes, Account]) -> set[tuple[UUID, UUID]]:
    return {
        (accounts[entry.ref].environment_id, entry.reservation.reservation_id)
        for entry in entries
        if isinstance(entry, StreamEntry) and entry.reservation is not None and entry.ref in accounts
    }


def _accepted(batch: Batch) -> list[datetime]:
    """When the batch's events were accepted."""
    entries = [entry for partition in batch.entries.values() for entry in partition]
    return [
        to_datetime(entry.accepted_at)
        for entry in entries
        if isinstance(entry, StreamEntry) and (entry.payload or entry.reservation)
    ]


def _with_incarnation(batch: Batch, posting: Posting) -> list[RejectedFrom]:
    if not posting.rejected:
        return []
    incarnations = {
        (entry.ref, entry.stream_id): batch.cursors[partition].incarnation
        for partition, entries in batch.entries.items()
        for entry in entries
    }
    return [RejectedFrom(incarnations[r.ref, r.stream_id], r) for r in posting.rejected]


async def _write(tx: Transaction, posting: Posting, rejected: list[RejectedFrom], now: datetime) -> None:
    await ledger_store.insert_transactions(tx, posting.transactions, now)
    await ledger_store.insert_events(tx, posting.events, now)
    await ledger_store.add_usage(tx, posting.used)
    await ledger_store.add_counters(tx, posting.counted)
    await ledger_store.insert_blocks(tx, posting.made_blocks)
    await ledger_store.settle_blocks(tx, posting.settled_blocks)
    await ledger_store.update_blocks(tx, posting.changed_blocks.values())
    await ledger_store.reterm_blocks(tx, posting.retermed_blocks)
    await ledger_store.take_over(tx, posting.taken_over)
    await ledger_store.end_rollover(tx, posting.ended_subscriptions)
    await close_periods(tx, posting)
    await subscriptions_store.write(tx, posting.customers.values(), now)
    await subscriptions_store.insert_history(tx, posting.history)
    await reservations_store.write(tx, posting.reservations.values())
    await orders_store.insert_outcomes(tx, posting.outcomes, now)
    await metering_store.write_holds(tx, posting.holds.values())
    await store.insert_rejected(tx, rejected, now)
    told = [tell_rejected(each.rejected, each.incarnation, now) for each in rejected]
    await outbox.announce(tx, [*posting.announcements, *filter(None, told)])
