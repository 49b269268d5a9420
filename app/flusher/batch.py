"""What a batch of stream entries does to the accounts that it touches: pure, in stream order.

For each entry: what is due by its time, then known credit pays open debt, then the entry. Credit that is about to
expire pays first, so that a quiet account owes what a busy one owes. So the ledger does not depend on how far the
flusher lags or how entries are cut into batches, but for how events are grouped into transactions.
"""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from app.corrections.deciding import Carried, carry_out
from app.flusher import falling_due, reserving, subscribing, telling, tied_credit
from app.flusher.counting import count
from app.flusher.grouping import UsageGroup
from app.flusher.posting import AccountKey, Entries, Posting, RejectedEntry, TakenBack, by_hour
from app.ledger.book import Account, PostedEvent
from app.ledger.targets import Targets
from app.metering.holds import HoldChange
from app.orders.outcomes import Outcome, Refused, origin_of
from app.subscriptions.book import Subscribers
from app.wire.events import UNSTORABLE, EntryKind, StreamEntry, UnreadableEntry, UsagePayload
from app.wire.gauges import GaugeAcquired, GaugeChange
from app.wire.keys import account_ref, environment_ref
from app.wire.orders import Correction, SubscriptionOrder, VoidUsage

UNKNOWN_CUSTOMER = "unknown_customer"
UNREADABLE = "unreadable_entry"
MOST_DUE = 2_000
"""Once a batch holds so much of what fell due, its ticks begin nothing else: the next ones go on."""


def post_batch(
    accounts: dict[AccountKey, Account],
    entries: Entries,
    posted_ids: set[tuple[UUID, UUID]],
    targets: Targets | None = None,
    subscribers: Subscribers | None = None,
    *,
    most_due: int = MOST_DUE,
) -> Posting:
    """Post `entries` (stream order within each account) to the accounts, which are changed in place.

    `posted_ids` are (environment, event id) of the batch that the ledger has already; ids of this batch are added to
    it. `targets` are what orders and reservations of the batch speak of, `subscribers` those whose subscriptions change
    by an order or by themselves; None where it has none. An entry of an account that the ledger does not have is
    rejected, and so is what an edge rejected already, whoever's it is. Where more than `most_due` has fallen due, ticks
    leave the rest of it due: `Posting.unfinished` says where. Every other entry comes after all that is due by then.
    """
    subscribers, targets = subscribers or Subscribers(), targets or Targets()
    customers, named = subscribers.customers, subscribers.named
    posting = Posting(accounts, customers=customers, named=named, spent=targets.blocks, courses=targets.courses)
    groups: dict[AccountKey, UsageGroup] = {}
    for entry in entries:
        account = None if isinstance(entry, StreamEntry) and entry.rejection else accounts.get(entry.ref)
        if account is None:
            posting.rejected.append(_reject_unposted(entry))
            continue
        group = groups.get(entry.ref)
        if group is None:
            group = groups[entry.ref] = UsageGroup(account)
        if isinstance(entry, UnreadableEntry):
            account.applied_micro += entry.cost_micro
            posting.rejected.append(_reject(entry, UNREADABLE, entry.detail))
        elif entry.payload is not None:
            _post_usage(posting, group, entry, entry.payload, posted_ids)
        elif entry.order is not None:
            _post_order(posting, group, entry, targets)
            group.look(posting, entry.accepted_at)
        elif entry.reservation is not None:
            _come_to(posting, group, entry)
            reserving.post_change(posting, group, entry, targets, posted_ids)
            group.look(posting, entry.accepted_at)
        elif entry.gauge is not None:
            _post_gauge(posting, group, entry, entry.gauge)
        else:
            _post_tick(posting, group, entry, most_due)
    _close(posting, groups)
    return posting


def _close(posting: Posting, groups: Mapping[AccountKey, UsageGroup]) -> None:
    """Post what has gathered, in the order in which accounts were locked: that of the indexes that the rows go to."""
    for ref, account in posting.accounts.items():
        if ref in groups:
            groups[ref].close(posting)
            account.revision += 1


def _come_to(posting: Posting, group: UsageGroup, entry: StreamEntry) -> None:
    """What comes with every entry, whatever becomes of it: time, and its cost as applied."""
    if entry.accepted_at >= group.next_boundary_at:
        _catch_up(posting, group, entry)
    group.account.applied_micro += entry.cost_micro


def _catch_up(posting: Posting, group: UsageGroup, entry: StreamEntry, most_due: int = falling_due.UNBOUNDED) -> None:
    """Post what is due by the entry's time."""
    if falling_due.post_due(posting, group, entry.accepted_at, entry.revision, most_due):
        posting.unfinished.discard(group.account.id)
    else:
        posting.unfinished.add(group.account.id)


def _post_usage(
    posting: Posting, group: UsageGroup, entry: StreamEntry, payload: UsagePayload, posted_ids: set[tuple[UUID, UUID]]
) -> None:
    """One event: nearly all entries are, so what comes with every entry is written out here."""
    account = group.account
    if entry.accepted_at >= group.next_boundary_at:
        _catch_up(posting, group, entry)
    account.applied_micro += entry.cost_micro
    known = len(posted_ids)
    posted_ids.add((account.environment_id, payload.event_id))
    if len(posted_ids) == known:
        posting.duplicates += 1
        return
    if account.debt_micro:
        falling_due.settle(posting, group, entry.accepted_at, entry.revision)
    group.add(posting, entry, payload)
    if payload.is_late:
        telling.tell_committed_late(posting, account, entry, payload)
    if entry.period_at is not None:
        posting.counted.append(count(account, payload.feature_key, entry.period_at, payload.units_micro))


def _post_tick(posting: Posting, group: UsageGroup, entry: StreamEntry, most_due: int) -> None:
    """No credit moves but what time moves. Where the rest is left to another tick, nothing is left to settle here."""
    group.account.applied_micro += entry.cost_micro
    if entry.accepted_at >= group.next_boundary_at:
        _catch_up(posting, group, entry, most_due)
    falling_due.settle(posting, group, entry.accepted_at, entry.revision)


def _post_gauge(posting: Posting, group: UsageGroup, entry: StreamEntry, change: GaugeChange) -> None:
    """Note who holds what. Nothing that is decided later may be dated before it, or it would count as older."""
    _come_to(posting, group, entry)
    falling_due.settle(posting, group, entry.accepted_at, entry.revision)
    account, at = group.account, entry.accepted_at
    units, expires_at = 0, None
    if isinstance(change, GaugeAcquired):
        units, expires_at = change.units, change.expires_at
    of_whom = account.environment_id, account.id, change.feature_key, change.holder
    posting.holds[of_whom[1:]] = HoldChange(*of_whom, units, expires_at, at)
    account.posted_at = max(account.posted_at, at)


def _post_order(posting: Posting, group: UsageGroup, entry: StreamEntry, targets: Targets) -> None:
    """Carry an order out, or note why not; once."""
    account, order, at = group.account, entry.order, entry.accepted_at
    _come_to(posting, group, entry)
    if order is None or order.order_id in targets.known:
        return
    targets.known.add(order.order_id)
    falling_due.settle(posting, group, at, entry.revision)
    group.close(posting)
    if isinstance(order, SubscriptionOrder):
        refused = subscribing.post_order(posting, group, order, at)
        falling_due.settle(posting, group, at, entry.revision)
        posting.outcomes.append(Outcome(account.environment_id, account.id, order, refused, None))
        return
    if isinstance(order, VoidUsage) and order.event_id not in targets.events:
        targets.events |= {event.id: event for event in posting.events if event.id == order.event_id}
    targets.set_aside = tied_credit.aside_of(posting, account)
    done, seq = carry_out(account, order, targets, at, entry.revision), None
    if isinstance(done, Carried):
        posting.transactions.append(account.post(done.kind, done.lines, at, origin_of(order)))
        seq = account.seq
        tied_credit.change_blocks(posting, account, done.blocks)
        posting.settled_blocks |= {block.id: (account.environment_id, 0) for block in done.withdrawn}
        if isinstance(order, VoidUsage):
            _take_back(posting, account, targets.events[order.event_id])
        group.next_boundary_at = account.next_boundary()
    refused = done if isinstance(done, Refused) else None
    posting.outcomes.append(Outcome(account.environment_id, account.id, order, refused, seq))


def _take_back(posting: Posting, account: Account, event: PostedEvent) -> None:
    """What an event added to sums and counters, where it is voided."""
    posting.taken_back.append(TakenBack(account.id, event, len(posting.used)))
    posting.used += by_hour(account, [event], sign=-1)
    if event.period_at is not None:
        posting.counted.append(count(account, event.feature_key, event.period_at, -event.units_micro))


def preview_order(account: Account, order: Correction, targets: Targets, at: int, subscribers: Subscribers) -> Posting:
    """What the order would do to the account, which is changed in place, if it were the next entry of its stream."""
    ref = account_ref(environment_ref(account.environment_id), account.end_user_id)
    entry = StreamEntry((0, 0), ref, EntryKind.ORDER, at, account.revision, 0, None, order)
    return post_batch({ref: account}, [entry], set(), targets, subscribers)


def _reject_unposted(entry: StreamEntry | UnreadableEntry) -> RejectedEntry:
    """One that an edge rejected already, or of a customer whom the ledger does not have."""
    if isinstance(entry, StreamEntry) and entry.rejection is not None:
        return _reject(entry, entry.rejection.code, entry.rejection.detail)
    return _reject(entry, UNKNOWN_CUSTOMER, "the ledger has no account of this customer")


def _reject(entry: StreamEntry | UnreadableEntry, code: str, detail: str) -> RejectedEntry:
    event_id = entry.event_id if isinstance(entry, UnreadableEntry) else _event_of(entry)
    return RejectedEntry(entry.ref, entry.stream_id, event_id, code, detail, msgspec.msgpack.encode(entry))


def _event_of(entry: StreamEntry) -> UUID | None:
    return None if entry.sent is None else entry.sent.event_id


def unstorable(entry: StreamEntry | UnreadableEntry, detail: str) -> UnreadableEntry:
    """An entry that the ledger's tables refuse, as one that is to be rejected; see `wire.events.usage_of`."""
    fields = {UNSTORABLE: msgspec.msgpack.encode(entry)}
    event_id = entry.event_id if isinstance(entry, UnreadableEntry) else _event_of(entry)
    return UnreadableEntry(entry.stream_id, entry.ref, entry.cost_micro, detail, fields, event_id)
