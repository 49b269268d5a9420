"""An account as it is posted to, pure: transactions come out numbered, chained and balanced.

Signs of lines: a block's line is what it gains; `debt` falls as debt grows, so that the total is the sum of all block
and debt lines; the other side (`issued:*`, `consumed:*`, `reserved:*`, `expired`) makes the sum zero.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from app.rules import chain
from app.rules.boundaries import boundary_of_account, next_boundary
from app.rules.burndown import Block, burn_order
from app.rules.moments import NEVER_AT
from app.rules.periods import Counting
from app.rules.thresholds import Threshold
from app.wire.ids import derived_id
from app.wire.reservations import ReservationState
from app.wire.snapshot import NOTHING_BESIDE, Beside

Lines = list[tuple[str, int]]
"""(account name, signed micro-credits)."""

DEBT = "debt"
EXPIRED = "expired"
PLAN = "plan"
"""The source of what subscriptions grant."""


def block_account(block_id: UUID | str) -> str:
    """Ledger account of a block."""
    return f"block:{block_id}"


def reserved_account(reservation_id: UUID) -> str:
    """Ledger account of what a reservation holds."""
    return f"reserved:{reservation_id}"


def paused_account(subscription_id: UUID) -> str:
    """Ledger account of what waits while a subscription stands still."""
    return f"paused:{subscription_id}"


class Transaction(msgspec.Struct, frozen=True):
    """One numbered, chained transaction, as it goes into the tables."""

    environment_id: UUID
    account_id: UUID
    seq: int
    id: UUID
    kind: str
    actor: str
    reason: str | None
    idempotency_key: str | None
    total_before_micro: int
    total_after_micro: int
    events_digest: bytes | None
    posted_at: int
    previous_hash: bytes
    hash: bytes
    lines: Lines


class PostedEvent(msgspec.Struct, frozen=True):
    """A usage event as its row keeps it. `draws` is JSON: [[block id, micro-credits], ...]."""

    environment_id: UUID
    account_id: UUID
    seq: int
    id: UUID
    feature_key: str
    units_micro: int
    cost_micro: int
    debt_micro: int
    draws: str
    price_id: UUID
    idempotency_key: str | None
    properties: str | None
    occurred_at: int
    accepted_at: int
    period_at: int | None = None
    """Start of the period in which its units were counted; None where they were not."""

    def chained(self) -> chain.ChainedEvent:
        """What the digest of its transaction covers of it."""
        return chain.ChainedEvent(
            self.id.bytes,
            self.feature_key,
            self.units_micro,
            self.cost_micro,
            self.debt_micro,
            self.price_id.bytes,
            self.occurred_at,
            self.accepted_at,
            self.draws,
            chain.text_digest(self.properties),
            chain.text_digest(self.idempotency_key),
        )

    def parsed_draws(self) -> list[tuple[UUID, int]]:
        """(block id, micro-credits) that the event drew."""
        return msgspec.json.decode(self.draws, type=list[tuple[UUID, int]])


class Reservation(msgspec.Struct, frozen=True):
    """A reservation as its row has it. What it is never changes; `expires_at`, and all from `state` on, does.

    `draws` is JSON: [[block id, micro-credits], ...] in the order in which they were drawn. Moments in microseconds.
    """

    environment_id: UUID
    account_id: UUID
    id: UUID
    feature_key: str
    in_credits: bool
    units_micro: int
    reserved_micro: int
    debt_micro: int
    """The part of it that no block covered."""
    draws: str
    price_id: UUID
    idempotency_key: str | None
    properties: str | None
    period_at: int | None
    opened_at: int
    opened_seq: int
    expires_at: int
    state: ReservationState = ReservationState.OPEN
    used_micro: int = 0
    ended_at: int | None = None
    ended_seq: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still holds credit."""
        return self.state is ReservationState.OPEN

    def chained(self) -> chain.ChainedReservation:
        """What the digest of its opening covers of it."""
        return chain.ChainedReservation(
            self.id.bytes,
            self.feature_key,
            self.in_credits,
            self.units_micro,
            self.reserved_micro,
            self.debt_micro,
            self.draws,
            self.price_id.bytes,
            self.period_at,
            self.opened_at,
            chain.text_digest(self.properties),
            chain.text_digest(self.idempotency_key),
        )

    def parsed_draws(self) -> list[tuple[UUID, int]]:
        """(block id, micro-credits) that it drew."""
        return msgspec.json.decode(self.draws, type=list[tuple[UUID, int]])


class TakenOverCredit(msgspec.Struct, frozen=True):
    """Which spent credit of a subscription is of another one: that which came in a cycle, and ends with it."""

    environment_id: UUID
    account_id: UUID
    left_id: UUID
    effective_from: int
    expires_at: int
    subscription_id: UUID
    """Whose it is now."""

    def is_met_by(self, block: Block) -> bool:
        """Whether a block of the subscription that was left came in the cycle, and ends with it."""
        return self.effective_from <= block.effective_at and block.expires_at == self.expires_at


class UsedInHour(msgspec.Struct, frozen=True):
    """What is added to the usage of an account and feature in one hour; less than zero where it is taken back."""

    environment_id: UUID
    account_id: UUID
    feature_key: str
    hour_at: int
    """Where the hour (UTC) begins in which it happened."""
    units_micro: int
    cost_micro: int
    events: int


class CountedUnits(msgspec.Struct, frozen=True):
    """What is added to the units of a feature in the period that began then; less than zero where taken back."""

    environment_id: UUID
    account_id: UUID
    feature_key: str
    period_at: int
    units_micro: int


class Origin(msgspec.Struct, frozen=True):
    """Who made a transaction, and why."""

    actor: str
    reason: str | None = None
    idempotency_key: str | None = None


class BlockNotes(msgspec.Struct, frozen=True):
    """What is kept with a block for those who look at it later; nothing is decided by it."""

    metadata: str | None = None
    """A JSON object, as it was sent."""
    price_paid: int | None = None
    """In the smallest unit of `currency` (ISO 4217); each is there with the other."""
    currency: str | None = None
    external_reference: str | None = None


NO_NOTES = BlockNotes()


class Account(msgspec.Struct):
    """The working copy of an account while its row is locked. Moments in microseconds."""

    environment_id: UUID
    id: UUID
    end_user_id: str
    revision: int
    seq: int
    total_micro: int
    debt_micro: int
    applied_micro: int
    posted_at: int
    head_hash: bytes
    snapshot_id: str
    subscription_status: str
    blocks: list[Block]
    """Live blocks in burn order."""
    reserved_micro: int = 0
    """Of all open reservations; it is in no block, and not in the total."""
    open_reservations: int = 0
    counting: Counting | None = None
    """None = nothing of the customer is counted."""
    counters: dict[tuple[str, int], int] = {}
    """Micro-units by (feature, start of the period), of the present period and any later one."""
    agenda_at: int = NEVER_AT
    """When the customer's subscriptions next change by themselves."""
    composed_until: int = NEVER_AT
    """What the snapshot says holds before this moment."""
    thresholds: Sequence[Threshold] = ()
    """Where the environment calls its credit low."""

    def add_block(self, block: Block) -> None:
        """A block more, in its place."""
        insort(self.blocks, block, key=burn_order)

    def take_spent_out(self) -> list[Block]:
        """Look no more at blocks of which nothing is left, as if the account had been locked just now; those blocks."""
        spent = [block for block in self.blocks if not (block.remaining_micro or block.is_scheduled)]
        if spent:
            self.blocks = [block for block in self.blocks if block.remaining_micro or block.is_scheduled]
        return spent

    def next_boundary(self) -> int:
        """When the account next changes by itself. May lie in the past: then something is due."""
        blocks_at = next_boundary(self.blocks)
        return boundary_of_account(blocks_at, self.counting, self.agenda_at, self.composed_until)

    def begun_at(self) -> int:
        """No decision may be dated before this: what was posted by then, and the present period, count for it."""
        return max(self.posted_at, 0 if self.counting is None else self.counting.period.start_at)

    def beside(self) -> Beside:
        """What is published of it beside its credit."""
        if self.counting is None:
            return beside_of(self.reserved_micro, self.open_reservations, None, [])
        start_at = self.counting.period.start_at
        used = [(feature_key, units) for (feature_key, at), units in self.counters.items() if at == start_at]
        return beside_of(self.reserved_micro, self.open_reservations, self.counting, used)

    def post(
        self, kind: str, lines: Lines, posted_at: int, origin: Origin, *, events_digest: bytes | None = None
    ) -> Transaction:
        """Number and chain one transaction. Posting times never go back within an account.

        Raises AssertionError where the lines do not sum to zero: that is a defect of the caller, never of input.
        """
        if sum(amount for _, amount in lines):
            message = f"lines of a {kind} transaction do not sum to zero: {lines}"
            raise AssertionError(message)
        self.seq += 1
        self.posted_at = max(self.posted_at, posted_at)
        before = self.total_micro
        self.total_micro += sum(amount for name, amount in lines if name == DEBT or name.startswith("block:"))
        transaction_id = derived_id(
            b"transaction", self.environment_id.hex.encode(), self.id.hex.encode(), b"%d" % self.seq
        )
        previous_hash = self.head_hash
        self.head_hash = chain.transaction_hash(
            previous_hash,
            chain.ChainedTransaction(
                self.environment_id.bytes,
                self.id.bytes,
                self.seq,
                transaction_id.bytes,
                kind,
                chain.text_digest(origin.actor) or b"",
                chain.text_digest(origin.reason),
                chain.text_digest(origin.idempotency_key),
                before,
                self.total_micro,
                self.posted_at,
                lines,
                events_digest,
            ),
        )
        return Transaction(
            self.environment_id,
            self.id,
            self.seq,
            transaction_id,
            kind,
            origin.actor,
            origin.reason,
            origin.idempotency_key,
            before,
            self.total_micro,
            events_digest,
            self.posted_at,
            previous_hash,
            self.head_hash,
            lines,
        )


def beside_of(
    reserved_micro: int, open_reservations: int, counting: Counting | None, used: Iterable[tuple[str, int]]
) -> Beside:
    """What the edge is told beside credit; of counters no further than it counts (app/wire/scripts/common.lua)."""
    if counting is None:
        return Beside(reserved_micro, open_reservations) if open_reservations else NOTHING_BESIDE
    bounded = [(feature_key, max(0, min(units, NEVER_AT))) for feature_key, units in used]
    return Beside(reserved_micro, open_reservations, counting.period.start_at, bounded, counting.period.end_at)
