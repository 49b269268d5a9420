"""Usage of one account between two other postings: it becomes one transaction."""

from typing import TYPE_CHECKING

import msgspec

from app.flusher.posting import FLUSHER, Posting, by_hour
from app.flusher.watching import Watch
from app.ledger.book import DEBT, Account, Lines, PostedEvent, block_account
from app.rules import burndown, chain
from app.rules.burndown import Block, Draw
from app.wire.events import StreamEntry, UsagePayload

if TYPE_CHECKING:
    from uuid import UUID


class _Drawn(msgspec.Struct):
    """All that the group took from a block."""

    block: Block
    shown_id: str
    """Its id as text, which takes longer to make than everything else that is done with it."""
    amount_micro: int = 0


class UsageGroup:
    """What gathers of one account until `close` posts it."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.next_boundary_at = account.next_boundary()
        """Before it nothing falls due. What is drawn meanwhile can only move it on."""
        self._watch = Watch(account)
        self._room_micro = self._watch.room_micro()
        """What may be spent before somebody has to look at the credit again."""
        self._events: list[PostedEvent] = []
        self._drawn: dict[UUID, _Drawn] = {}
        """By block."""
        self._consumed: dict[str, int] = {}
        self._debt_micro = 0

    def add(self, posting: Posting, entry: StreamEntry, payload: UsagePayload) -> None:
        """One event: it draws what it may, and the rest becomes debt."""
        account, at, cost = self.account, entry.accepted_at, entry.cost_micro
        draws, debt = burndown.plan_draws(account.blocks, cost, at, entry.revision)
        shown_draws = ",".join([self._draw(draw) for draw in draws])
        if debt:
            account.debt_micro += debt
            self._debt_micro += debt
            if account.debt_micro == debt:
                self._room_micro = 0
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
                f"[{shown_draws}]",
                payload.price_id,
                payload.idempotency_key,
                payload.properties,
                at if payload.occurred_at is None else payload.occurred_at,
                at,
                entry.period_at,
            )
        )
        self._room_micro -= cost
        if self._room_micro <= 0:
            self._look(posting, at, payload.event_id.hex.encode())

    def look(self, posting: Posting, at: int) -> None:
        """Tell what has become of the account's credit by something else than an event, dated `at`."""
        self._look(posting, at, b"%d" % self.account.seq)

    def look_away(self) -> None:
        """Tell nothing of what has become of the account's credit: some of it was set aside, or has come back."""
        self._watch = Watch(self.account)
        self._room_micro = self._watch.room_micro()

    def _look(self, posting: Posting, at: int, cause: bytes) -> None:
        self._watch.look(posting, at, sum(self._consumed.values()), cause)
        self._room_micro = self._watch.room_micro()

    def _draw(self, draw: Draw) -> str:
        """Take it from its block; as an event shows it."""
        block, amount_micro = draw.block, draw.amount_micro
        block.remaining_micro -= amount_micro
        if not block.remaining_micro:
            self._room_micro = 0  # of what was granted in it nothing is left, and percentages are of less
        drawn = self._drawn.get(block.id)
        if drawn is None:
            drawn = self._drawn[block.id] = _Drawn(block, str(block.id))
        drawn.amount_micro += amount_micro
        return f'["{drawn.shown_id}",{amount_micro}]'

    def close(self, posting: Posting) -> None:
        """Post what has gathered, as one transaction dated with its last event."""
        events = self._events
        if not events:
            return
        lines: Lines = [(block_account(drawn.shown_id), -drawn.amount_micro) for drawn in self._drawn.values()]
        if self._debt_micro:
            lines.append((DEBT, -self._debt_micro))
        lines += [(f"consumed:{key}", amount) for key, amount in self._consumed.items() if amount]
        digest = chain.events_digest([event.chained() for event in events])
        last_at = events[-1].accepted_at
        posting.transactions.append(self.account.post("usage", lines, last_at, FLUSHER, events_digest=digest))
        posting.events += events
        posting.used += by_hour(self.account, events)
        for block_id, drawn in self._drawn.items():
            posting.changed_blocks[block_id] = (self.account.environment_id, drawn.block)
        self._events, self._drawn, self._consumed, self._debt_micro = [], {}, {}, 0
