"""Usage of one account between two other postings: it becomes one transaction."""

from typing import TYPE_CHECKING

from app.flusher.posting import FLUSHER, Posting, by_hour
from app.flusher.watching import Watch
from app.ledger.book import DEBT, Account, Lines, PostedEvent, block_account
from app.rules import burndown, chain
from app.rules.burndown import Draw
from app.wire.events import StreamEntry, UsagePayload

if TYPE_CHECKING:
    from uuid import UUID


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
        self._drawn: dict[UUID, Draw] = {}
        """By block: all that the group took from it."""
        self._consumed: dict[str, int] = {}
        self._debt_micro = 0
        self._shown: dict[UUID, str] = {}
        """Block ids as texts, which take longer to make than everything else that is done with them."""

    def add(self, posting: Posting, entry: StreamEntry, payload: UsagePayload) -> None:
        """One event: it draws what it may, and the rest becomes debt."""
        account, at, cost = self.account, entry.accepted_at, entry.cost_micro
        draws, debt = burndown.plan_draws(account.blocks, cost, at, entry.revision)
        for draw in draws:
            self._draw(draw)
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
                self._show(draws),
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

    def _draw(self, draw: Draw) -> None:
        block = draw.block
        block.remaining_micro -= draw.amount_micro
        if not block.remaining_micro:
            self._room_micro = 0  # of what was granted in it nothing is left, and percentages are of less
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
        posting.used += by_hour(self.account, events)
        for block_id, draw in self._drawn.items():
            posting.changed_blocks[block_id] = (self.account.environment_id, draw.block)
        self._events, self._drawn, self._consumed, self._debt_micro = [], {}, {}, 0
