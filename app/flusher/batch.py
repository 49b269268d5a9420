"""What a batch of stream entries does to the accounts that it touches: pure, in stream order.

For each entry: what is due by its time, then known credit pays open debt, then the entry. Credit that is about to
expire pays first, so that a quiet account owes what a busy one owes. So the ledger does not depend on how far the
flusher lags or how entries are cut into batches, but for how events are grouped into transactions.
"""

from uuid import UUID

import msgspec

from app.corrections.deciding import Carried, Outcome, Refused, Targets, carry_out, origin_of
from app.flusher.counting import count, turn_period
from app.ledger.book import (
    DEBT,
    EXPIRED,
    Account,
    CountedUnits,
    Lines,
    Origin,
    PostedEvent,
    Transaction,
    UsedInHour,
    block_account,
)
from app.metering.holds import HoldChange
from app.rules import burndown, chain
from app.rules.boundaries import next_due
from app.rules.burndown import Block, Draw, Rollover, Terms, granted_under_cap, rolled_over
from app.rules.credits import from_micro
from app.rules.moments import hour_of
from app.wire.events import UNSTORABLE, EntryKind, StreamEntry, UnreadableEntry, UsagePayload
from app.wire.gauges import GaugeAcquired, GaugeChange
from app.wire.ids import derived_id
from app.wire.keys import account_ref, environment_ref
from app.wire.orders import Order, VoidUsage

FLUSHER = Origin("flusher")
ROLLOVER = "rollover"
AccountKey = bytes
"""The account ref of `wire.keys`."""
Entries = list[StreamEntry | UnreadableEntry]


UNKNOWN_CUSTOMER = "unknown_customer"
UNREADABLE = "unreadable_entry"


class RejectedEntry(msgspec.Struct, frozen=True):
    """An entry that the ledger cannot post; it is kept, told and counted, and the partition goes on."""

    ref: bytes
    stream_id: tuple[int, int]
    event_id: UUID | None
    """None where even that cannot be read."""
    code: str
    detail: str
    entry: bytes


class Posting(msgspec.Struct):
    """Everything that one batch writes. `accounts` and `changed_blocks` are the working copies, posted to."""

    accounts: dict[AccountKey, Account]
    transactions: list[Transaction] = []
    events: list[PostedEvent] = []
    used: list[UsedInHour] = []
    """What `events` come to by account, feature and hour; an hour may come several times."""
    counted: list[CountedUnits] = []
    """What entries add to counters of units by feature and period."""
    rejected: list[RejectedEntry] = []
    duplicates: int = 0
    """Events that the ledger had, or that came twice."""
    changed_blocks: dict[UUID, tuple[UUID, Block]] = {}
    """By block id: (environment, block)."""
    made_blocks: list[tuple[Account, Block]] = []
    settled_blocks: dict[UUID, tuple[UUID, int]] = {}
    """Blocks that were scheduled, by id: (environment, what was granted of them)."""
    outcomes: list[Outcome] = []
    holds: dict[tuple[UUID, str, str], HoldChange] = {}
    """Of gauges, by account, feature and holder: the last that became of each."""


def post_batch(
    accounts: dict[AccountKey, Account],
    entries: Entries,
    posted_ids: set[tuple[UUID, UUID]],
    targets: Targets | None = None,
) -> Posting:
    """Post `entries` (stream order within each account) to the accounts, which are changed in place.

    `posted_ids` are (environment, event id) of the batch that the ledger has already; ids of this batch are added to
    it. `targets` are what orders of the batch speak of; None where it has none. An entry of an account that the ledger
    does not have is rejected, and so is what an edge rejected already, whoever's it is.
    """
    posting = Posting(accounts)
    groups: dict[AccountKey, _UsageGroup] = {}
    for entry in entries:
        if isinstance(entry, StreamEntry) and entry.rejection is not None:
            posting.rejected.append(_reject(entry, entry.rejection.code, entry.rejection.detail))
            continue
        account = accounts.get(entry.ref)
        if account is None:
            posting.rejected.append(_reject(entry, UNKNOWN_CUSTOMER, "the ledger has no account of this customer"))
            continue
        group = groups.get(entry.ref)
        if group is None:
            group = groups[entry.ref] = _UsageGroup(account)
        if isinstance(entry, UnreadableEntry):
            account.applied_micro += entry.cost_micro
            posting.rejected.append(_reject(entry, UNREADABLE, entry.detail))
        elif entry.order is not None:
            _post_order(posting, group, entry, targets or Targets())
        else:
            _post_entry(posting, group, entry, posted_ids)
    for group in groups.values():
        group.close(posting)
        group.account.revision += 1
    return posting


def _post_entry(posting: Posting, group: "_UsageGroup", entry: StreamEntry, posted_ids: set[tuple[UUID, UUID]]) -> None:
    account, at = group.account, entry.accepted_at
    if at >= group.next_boundary_at:
        _post_due(posting, group, at, entry.revision)
    account.applied_micro += entry.cost_micro
    if entry.payload is not None:
        event = (account.environment_id, entry.payload.event_id)
        if event in posted_ids:
            posting.duplicates += 1
            return
        posted_ids.add(event)
    if account.debt_micro:
        _pay_debt(posting, group, at, entry.revision)
    if entry.payload is not None:
        group.add(entry, entry.payload)
        if entry.period_at is not None:
            counted = count(account, entry.payload.feature_key, entry.period_at, entry.payload.units_micro)
            posting.counted.append(counted)
    elif entry.gauge is not None:
        _post_gauge(posting, account, entry.gauge, at)


def _post_gauge(posting: Posting, account: Account, change: GaugeChange, at: int) -> None:
    """Note who holds what. Nothing that is decided later may be dated before it, or it would count as older."""
    units, expires_at = 0, None
    if isinstance(change, GaugeAcquired):
        units, expires_at = change.units, change.expires_at
    of_whom = account.environment_id, account.id, change.feature_key, change.holder
    posting.holds[of_whom[1:]] = HoldChange(*of_whom, units, expires_at, at)
    account.posted_at = max(account.posted_at, at)


def _post_order(posting: Posting, group: "_UsageGroup", entry: StreamEntry, targets: Targets) -> None:
    """Carry an order out, or note why not; once."""
    account, order, at = group.account, entry.order, entry.accepted_at
    if at >= group.next_boundary_at:
        _post_due(posting, group, at, entry.revision)
    account.applied_micro += entry.cost_micro
    if order is None or order.order_id in targets.known:
        return
    targets.known.add(order.order_id)
    if account.debt_micro:
        _pay_debt(posting, group, at, entry.revision)
    group.close(posting)
    if isinstance(order, VoidUsage) and order.event_id not in targets.events:
        targets.events |= {event.id: event for event in posting.events if event.id == order.event_id}
    done, seq = carry_out(account, order, targets, at, entry.revision), None
    if isinstance(done, Carried):
        posting.transactions.append(account.post(done.kind, done.lines, at, origin_of(order)))
        seq = account.seq
        posting.changed_blocks |= {block.id: (account.environment_id, block) for block in done.changed}
        posting.settled_blocks |= {block.id: (account.environment_id, 0) for block in done.withdrawn}
        if isinstance(order, VoidUsage):
            _take_back(posting, account, targets.events[order.event_id])
        if done.refund is not None:
            posting.made_blocks.append((account, done.refund))
        group.next_boundary_at = account.next_boundary()
    refused = done if isinstance(done, Refused) else None
    posting.outcomes.append(Outcome(account.environment_id, account.id, order, refused, seq))


def _take_back(posting: Posting, account: Account, event: PostedEvent) -> None:
    """What an event added to sums and counters, where it is voided."""
    posting.used += _by_hour(account, [event], sign=-1)
    if event.period_at is not None:
        posting.counted.append(count(account, event.feature_key, event.period_at, -event.units_micro))


def preview_order(account: Account, order: Order, targets: Targets, at: int) -> Posting:
    """What the order would do to the account, which is changed in place, if it were the next entry of its stream."""
    ref = account_ref(environment_ref(account.environment_id), account.end_user_id)
    entry = StreamEntry((0, 0), ref, EntryKind.ORDER, at, account.revision, 0, None, order)
    return post_batch({ref: account}, [entry], set(), targets)


def _post_due(posting: Posting, group: "_UsageGroup", at: int, revision: int) -> None:
    """Post what has fallen due by `at`, in its order, each dated with the moment at which it did.

    A period that is over is turned; nothing is posted for it.
    """
    account = group.account
    turn_period(account, at)
    while (block := next_due(account.blocks, at, revision)) is not None:
        group.close(posting)
        if block.is_scheduled:
            _grant(posting, account, block, revision)
        else:
            _pay_debt(posting, group, block.expires_at - 1, revision)
            _expire(posting, account, block)
    group.next_boundary_at = account.next_boundary()


def _grant(posting: Posting, account: Account, block: Block, revision: int) -> None:
    """A scheduled block becomes effective: as much of it as fits under its cap is granted.

    What core granted after `revision` does not count to the cap: whether it is there yet depends on how far we lag.
    """
    terms = block.terms or Terms(FLUSHER.actor)
    asked_micro = block.granted_micro
    known = [b for b in account.blocks if not b.is_scheduled and b.known_revision <= revision]
    held_micro = sum(b.remaining_micro for b in known if b.source == block.source)
    granted_micro = granted_under_cap(asked_micro, held_micro, terms.cap_micro)
    block.is_scheduled, block.remaining_micro, block.granted_micro = False, granted_micro, granted_micro
    lines: Lines = [(block_account(block.id), granted_micro), (f"issued:{block.source}", -granted_micro)]
    reason = terms.reason
    if granted_micro < asked_micro:
        left_out = f"{from_micro(granted_micro)} of {from_micro(asked_micro)} fit under the cap"
        reason = left_out if reason is None else f"{reason} ({left_out})"
    origin = Origin(terms.actor, reason, terms.idempotency_key)
    posting.transactions.append(account.post("grant", lines if granted_micro else [], block.effective_at, origin))
    posting.settled_blocks[block.id] = (account.environment_id, granted_micro)
    posting.changed_blocks[block.id] = (account.environment_id, block)


def _expire(posting: Posting, account: Account, block: Block) -> None:
    """What is left of a block goes on into another one, as far as its terms say so; the rest expires."""
    if block.terms is not None and block.terms.rollover is not None:
        _roll_over(posting, account, block, block.terms.rollover)
    posting.changed_blocks[block.id] = (account.environment_id, block)
    if not block.remaining_micro:
        return  # it has just paid a debt, or goes on whole
    amount, block.remaining_micro = block.remaining_micro, 0
    lines: Lines = [(block_account(block.id), -amount), (EXPIRED, amount)]
    posting.transactions.append(account.post("expiry", lines, block.expires_at, FLUSHER))


def _roll_over(posting: Posting, account: Account, block: Block, rollover: Rollover) -> None:
    moved_micro = rolled_over(block.remaining_micro, rollover.share_millionths, rollover.cap_micro)
    if not moved_micro:
        return
    at = block.expires_at
    into = Block(
        derived_id(ROLLOVER.encode(), block.id.hex.encode()),
        moved_micro,
        block.priority,
        block.paid,
        block.known_revision,
        effective_at=at,
        expires_at=rollover.expires_at,
        granted_at=at,
        source=ROLLOVER,
        granted_micro=moved_micro,
    )
    block.remaining_micro -= moved_micro
    account.blocks = burndown.sort_blocks([*account.blocks, into])
    posting.made_blocks.append((account, into))
    lines: Lines = [(block_account(block.id), -moved_micro), (block_account(into.id), moved_micro)]
    posting.transactions.append(account.post("rollover", lines, at, FLUSHER))


def _pay_debt(posting: Posting, group: "_UsageGroup", at: int, revision: int) -> None:
    """Pay open debt from credit that is there `at` and that the entry's edge knew of."""
    account = group.account
    draws, unpaid = burndown.plan_draws(account.blocks, account.debt_micro, at, revision)
    if not draws:
        return
    group.close(posting)
    paid = account.debt_micro - unpaid
    account.debt_micro = unpaid
    lines = [*_take(posting, account, draws), (DEBT, paid)]
    posting.transactions.append(account.post("debt_payment", lines, at, FLUSHER))


def _take(posting: Posting, account: Account, draws: list[Draw]) -> Lines:
    for draw in draws:
        draw.block.remaining_micro -= draw.amount_micro
        posting.changed_blocks[draw.block.id] = (account.environment_id, draw.block)
    return [(block_account(draw.block.id), -draw.amount_micro) for draw in draws]


class _UsageGroup:
    """Usage of one account between two other postings: it becomes one transaction."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.next_boundary_at = account.next_boundary()
        """Before it nothing falls due. What is drawn meanwhile can only move it on."""
        self._events: list[PostedEvent] = []
        self._drawn: dict[UUID, Draw] = {}
        """By block: all that the group took from it."""
        self._consumed: dict[str, int] = {}
        self._debt_micro = 0
        self._shown: dict[UUID, str] = {}
        """Block ids as texts, which take longer to make than everything else that is done with them."""

    def add(self, entry: StreamEntry, payload: UsagePayload) -> None:
        """One event: it draws what it may, and the rest becomes debt."""
        account, at, cost = self.account, entry.accepted_at, entry.cost_micro
        draws, debt = burndown.plan_draws(account.blocks, cost, at, entry.revision)
        for draw in draws:
            self._draw(draw)
        if debt:
            account.debt_micro += debt
            self._debt_micro += debt
        feature_key = payload.feature_key
        self._consumed[feature_key] = self._consumed.get(feature_key, 0) + cost
        self._events.append(
            PostedEvent(
                account.environment_id,
                account.id,
                account.seq + 1,
                payload.event_id,
                feature_key,
                payload.units_micro,
                cost,
                debt,
                self._show(draws),
                payload.price_id,
                payload.idempotency_key,
                payload.properties,
                at if payload.occurred_at is None else payload.occurred_at,
                at,
                entry.period_at,
            )
        )

    def _draw(self, draw: Draw) -> None:
        block = draw.block
        block.remaining_micro -= draw.amount_micro
        before = self._drawn.get(block.id)
        if before is None:
            self._drawn[block.id] = draw
            self._shown[block.id] = str(block.id)
        else:
            self._drawn[block.id] = Draw(block, before.amount_micro + draw.amount_micro)

    def _show(self, draws: list[Draw]) -> str:
        return "[" + ",".join([f'["{self._shown[draw.block.id]}",{draw.amount_micro}]' for draw in draws]) + "]"

    def close(self, posting: Posting) -> None:
        """Post what has gathered, as one transaction dated with its last event."""
        events = self._events
        if not events:
            return
        lines: Lines = [(block_account(draw.block.id), -draw.amount_micro) for draw in self._drawn.values()]
        if self._debt_micro:
            lines.append((DEBT, -self._debt_micro))
        lines += [(f"consumed:{key}", amount) for key, amount in self._consumed.items() if amount]
        digest = chain.events_digest([event.chained() for event in events])
        last_at = events[-1].accepted_at
        posting.transactions.append(self.account.post("usage", lines, last_at, FLUSHER, events_digest=digest))
        posting.events += events
        posting.used += _by_hour(self.account, events)
        for block_id, draw in self._drawn.items():
            posting.changed_blocks[block_id] = (self.account.environment_id, draw.block)
        self._events, self._drawn, self._consumed, self._debt_micro = [], {}, {}, 0


def _by_hour(account: Account, events: list[PostedEvent], sign: int = 1) -> list[UsedInHour]:
    """What events of the account come to by feature and hour; with the sign -1, to be taken back."""
    sums: dict[tuple[str, int], list[int]] = {}
    for event in events:
        used = sums.setdefault((event.feature_key, hour_of(event.occurred_at)), [0, 0, 0])
        used[0] += sign * event.units_micro
        used[1] += sign * event.cost_micro
        used[2] += sign
    owner = account.environment_id, account.id
    return [UsedInHour(*owner, feature_key, hour_at, *used) for (feature_key, hour_at), used in sums.items()]


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
