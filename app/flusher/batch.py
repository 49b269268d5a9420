"""What a batch of stream entries does to the accounts that it touches: pure, in stream order.

For each entry: what is due by its time, then known credit pays open debt, then the entry. Credit that is about to
expire pays first, so that a quiet account owes what a busy one owes. So the ledger does not depend on how far the
flusher lags or how entries are cut into batches, but for how events are grouped into transactions.
"""

from uuid import UUID

import msgspec

from app.ledger.book import DEBT, EXPIRED, Account, Lines, Origin, PostedEvent, Transaction, block_account
from app.rules import burndown, chain
from app.rules.burndown import Block, Draw
from app.wire.events import StreamEntry, UnreadableEntry, UsagePayload

FLUSHER = Origin("flusher")
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
    rejected: list[RejectedEntry] = []
    changed_blocks: dict[UUID, tuple[UUID, Block]] = {}
    """By block id: (environment, block)."""


def post_batch(accounts: dict[AccountKey, Account], entries: Entries, posted_ids: set[tuple[UUID, UUID]]) -> Posting:
    """Post `entries` (stream order within each account) to the accounts, which are changed in place.

    `posted_ids` are (environment, event id) of the batch that the ledger has already; ids of this batch are added to
    it. An entry of an account that the ledger does not have is rejected.
    """
    posting = Posting(accounts)
    groups: dict[AccountKey, _UsageGroup] = {}
    for entry in entries:
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
        else:
            _post_entry(posting, group, entry, posted_ids)
    for group in groups.values():
        group.close(posting)
        group.account.revision += 1
    return posting


def _post_entry(posting: Posting, group: "_UsageGroup", entry: StreamEntry, posted_ids: set[tuple[UUID, UUID]]) -> None:
    account, at = group.account, entry.accepted_at
    if expired := burndown.expired_by(account.blocks, at):
        group.close(posting)
        for block in expired:
            _pay_debt(posting, group, block.expires_at - 1, entry.revision)
            _expire(posting, account, block)
    account.applied_micro += entry.cost_micro
    if entry.payload is not None:
        event = (account.environment_id, entry.payload.event_id)
        if event in posted_ids:
            return
        posted_ids.add(event)
    _pay_debt(posting, group, at, entry.revision)
    if entry.payload is not None:
        group.add(posting, entry, entry.payload)


def _expire(posting: Posting, account: Account, block: Block) -> None:
    if not block.remaining_micro:
        return  # it has just paid a debt
    amount, block.remaining_micro = block.remaining_micro, 0
    lines: Lines = [(block_account(block.id), -amount), (EXPIRED, amount)]
    posting.transactions.append(account.post("expiry", lines, block.expires_at, FLUSHER))
    posting.changed_blocks[block.id] = (account.environment_id, block)


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
        self._events: list[PostedEvent] = []
        self._lines: dict[str, int] = {}
        self._last_at = 0

    def add(self, posting: Posting, entry: StreamEntry, payload: UsagePayload) -> None:
        account, at = self.account, entry.accepted_at
        draws, debt = burndown.plan_draws(account.blocks, entry.cost_micro, at, entry.revision)
        for name, amount in _take(posting, account, draws):
            self._lines[name] = self._lines.get(name, 0) + amount
        if debt:
            account.debt_micro += debt
            self._lines[DEBT] = self._lines.get(DEBT, 0) - debt
        consumed = f"consumed:{payload.feature_key}"
        self._lines[consumed] = self._lines.get(consumed, 0) + entry.cost_micro
        self._remember(entry, payload, _show_draws(draws), debt)

    def _remember(self, entry: StreamEntry, payload: UsagePayload, draws: str, debt_micro: int) -> None:
        at = entry.accepted_at
        occurred_at = at if payload.occurred_at is None else payload.occurred_at
        self._last_at = at
        self._events.append(
            PostedEvent(
                self.account.environment_id,
                self.account.id,
                self.account.seq + 1,
                payload.event_id,
                payload.feature_key,
                payload.units_micro,
                entry.cost_micro,
                debt_micro,
                draws,
                payload.price_id,
                payload.idempotency_key,
                payload.properties,
                occurred_at,
                at,
            )
        )

    def close(self, posting: Posting) -> None:
        """Post what has gathered, as one transaction dated with its last event."""
        if not self._events:
            return
        lines = [(name, amount) for name, amount in self._lines.items() if amount]
        digest = chain.events_digest(event.chained() for event in self._events)
        posting.transactions.append(self.account.post("usage", lines, self._last_at, FLUSHER, events_digest=digest))
        posting.events += self._events
        self._events, self._lines = [], {}


def _show_draws(draws: list[Draw]) -> str:
    return "[" + ",".join(f'["{draw.block.id}",{draw.amount_micro}]' for draw in draws) + "]"


def _reject(entry: StreamEntry | UnreadableEntry, code: str, detail: str) -> RejectedEntry:
    payload = entry.payload if isinstance(entry, StreamEntry) else None
    event_id = None if payload is None else payload.event_id
    return RejectedEntry(entry.ref, entry.stream_id, event_id, code, detail, msgspec.msgpack.encode(entry))


def unstorable(entry: StreamEntry | UnreadableEntry, detail: str) -> UnreadableEntry:
    """An entry that the ledger's tables refuse, as one that is to be rejected."""
    fields = {b"entry": msgspec.msgpack.encode(entry)}
    return UnreadableEntry(entry.stream_id, entry.ref, entry.cost_micro, detail, fields)
