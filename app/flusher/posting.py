"""Everything that one batch writes, gathered while it is decided."""

from uuid import UUID

import msgspec

from app.ledger.book import (
    Account,
    CountedUnits,
    Origin,
    PostedEvent,
    Reservation,
    TakenOverCredit,
    Transaction,
    UsedInHour,
)
from app.metering.holds import HoldChange
from app.orders.outcomes import Outcome
from app.rules.burndown import Block
from app.rules.moments import hour_of
from app.rules.standstill import Course
from app.subscriptions.book import Customer, Kept, Named
from app.subscriptions.history import Change
from app.subscriptions.schemas import ClosedPeriod
from app.trail.outbox import Announcement
from app.wire.events import StreamEntry, UnreadableEntry

FLUSHER = Origin("flusher")
AccountKey = bytes
"""The account ref of `wire.keys`."""
Entries = list[StreamEntry | UnreadableEntry]


class RejectedEntry(msgspec.Struct, frozen=True):
    """An entry that the ledger cannot post; it is kept, told and counted, and the partition goes on."""

    ref: bytes
    stream_id: tuple[int, int]
    event_id: UUID | None
    """None where even that cannot be read."""
    code: str
    detail: str
    entry: bytes


class TurnedPeriod(msgspec.Struct, frozen=True):
    """A period of a base subscription has ended, or one begins, or both: what was used is summed up to there."""

    account: Account
    kept: Kept
    since_at: int
    """Where the period began that has ended."""
    at: int
    used: int
    """How much of `Posting.used` is of the time before."""
    closed: ClosedPeriod | None
    """Where what was used is to be shown."""


class TakenBack(msgspec.Struct, frozen=True):
    """A usage event that was voided."""

    account_id: UUID
    event: PostedEvent
    used: int
    """How much of `Posting.used` is of the time before."""


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
    spent: dict[UUID, Block] = {}
    """Blocks that are in no working copy, since nothing is left of them, by id: `Targets.blocks`."""
    courses: dict[UUID, Course] = {}
    """Of subscriptions, by id: `Targets.courses`."""
    outcomes: list[Outcome] = []
    holds: dict[tuple[UUID, str, str], HoldChange] = {}
    """Of gauges, by account, feature and holder: the last that became of each."""
    due: int = 0
    """How much of it fell due: steps, and the transactions that they became."""
    unfinished: set[UUID] = set()
    """Accounts at which a tick has left something due."""
    reservations: dict[tuple[UUID, int], Reservation] = {}
    """Those that were opened, extended or ended, as they are after the batch, by id and the seq of their opening."""
    announcements: list[Announcement] = []
    """Word of what happened, in its order."""
    customers: dict[UUID, Customer] = {}
    """Subscriptions by account, where something of them is due or ordered."""
    named: Named = msgspec.field(default_factory=Named)
    """What orders about subscriptions speak of."""
    history: list[Change] = []
    turned_periods: list[TurnedPeriod] = []
    taken_back: list[TakenBack] = []
    ended_subscriptions: list[tuple[UUID, UUID, UUID]] = []
    """(environment, account, subscription): nothing of their blocks goes on into others, not of spent ones either."""
    taken_over: list[TakenOverCredit] = []
    """In its order: who comes back twice takes over what they took over before."""
    retermed_blocks: list[tuple[UUID, Block]] = []
    """(environment, block) of which other terms hold."""
    snapshots: dict[str, bytes] = {}
    """Those that were composed, by id."""
    recompose: dict[UUID, int] = {}
    """Accounts of which another snapshot holds than before, by id, and the moment as of which it is composed."""


def by_hour(account: Account, events: list[PostedEvent], sign: int = 1) -> list[UsedInHour]:
    """What events of the account come to by feature and hour; with the sign -1, to be taken back."""
    sums: dict[tuple[str, int], list[int]] = {}
    for event in events:
        used = sums.setdefault((event.feature_key, hour_of(event.occurred_at)), [0, 0, 0])
        used[0] += sign * event.units_micro
        used[1] += sign * event.cost_micro
        used[2] += sign
    owner = account.environment_id, account.id
    return [UsedInHour(*owner, feature_key, hour_at, *used) for (feature_key, hour_at), used in sums.items()]
