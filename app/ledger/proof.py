"""Proof of one account: everything in its rows is derived again, transaction by transaction, and compared. Pure.

What is kept meanwhile is the account, its blocks and one transaction, however many there are. The numbers are those of
the invariants in docs/invariants.md.
"""

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from uuid import UUID

import msgspec

from app.ledger.book import DEBT, Account, Lines, Origin, Transaction, block_account
from app.ledger.draws_proof import BlockRow, BurnOrder, Draws, DrawsProof, Replayed, Report, Taken
from app.ledger.figures_proof import Figures, compare_blocks, compare_end
from app.ledger.reservation_proof import OPENED, HeldRow, ReservationsProof, extra_of
from app.rules import burndown, chain

BLOCK = "block:"


class Finding(msgspec.Struct, frozen=True):
    """An invariant that does not hold, and the row that shows it: table and key."""

    invariant: int
    row: str
    message: str


class AccountProof:
    """Takes the account's transactions by seq, each between `begin` and `end`, with its events by id in between."""

    def __init__(self, account: Account, blocks: Iterable[BlockRow], report: Report) -> None:
        self._account = account
        self._report = report
        self._again = Account(
            account.environment_id, account.id, account.end_user_id, 0, 0, 0, 0, 0, 0, chain.GENESIS, "", "", []
        )
        self._blocks = {block_account(row.block.id): Replayed(row, burndown.burn_order(row.block)) for row in blocks}
        self._open: list[tuple[BurnOrder, Replayed]] = []
        """Blocks with credit left after the transactions so far, in burn order."""
        self._draws = DrawsProof(self._blocks, self._open, report)
        self.reservations = ReservationsProof(account, self._draws, report)
        self._missing: set[str] = set()
        self._events: _EventsProof | None = None
        self._stored: Transaction | None = None
        self.sums: dict[str, int] = defaultdict(int)
        """The lines so far by kind of ledger account: issued, consumed, expired, block, debt (micro-credits)."""

    def begin(self, stored: Transaction) -> None:
        """Prove a transaction by itself and as the successor of the one before it."""
        self._stored, row = stored, self._row(stored.seq)
        self._follow(stored, row)
        rest = sum([amount for _, amount in stored.lines])
        if rest:
            self._report(1, f"ledger_lines {self._account.id} seq {stored.seq}", f"sum to {rest}, not to zero")
        try:
            self._compare(stored, _post_again(self._again, stored, rest), row)
        except OverflowError:
            self._report(9, row, "its lines are beyond what any hash was made of")
            self._again.seq = stored.seq
        self._again.total_micro, self._again.head_hash = stored.total_after_micro, stored.hash
        self._replay_lines(stored, row)
        self._events = None

    def _follow(self, stored: Transaction, row: str) -> None:
        """Compare with where the transaction before it ended, and go on from what the row says: one finding a fault."""
        again = self._again
        if stored.seq != again.seq + 1:
            self._report(10, row, f"follows seq {again.seq}: a transaction is missing or repeated")
            again.seq = stored.seq - 1
        if stored.previous_hash != again.head_hash:
            self._report(9, row, "does not name the hash of the transaction before it")
            again.head_hash = stored.previous_hash
        if stored.total_before_micro != again.total_micro:
            self._report(11, row, f"begins at {stored.total_before_micro}, not at {again.total_micro}")
            again.total_micro = stored.total_before_micro
        if stored.posted_at < again.posted_at:
            self._report(12, row, "was posted before the transaction that it follows")
            again.posted_at = stored.posted_at

    def _compare(self, stored: Transaction, again: Transaction, row: str) -> None:
        if stored.total_after_micro != again.total_after_micro:
            message = f"ends at {stored.total_after_micro}, its lines give {again.total_after_micro}"
            self._report(11, row, message)
        if stored.hash != again.hash:
            self._report(9, row, "its hash is not the one of its content")
        if stored.id != again.id:
            self._report(9, row, f"has the id {stored.id}, its place in the chain gives {again.id}")

    def _replay_lines(self, stored: Transaction, row: str) -> None:
        sums = self.sums
        for name, amount in stored.lines:
            sums[name.partition(":")[0]] += amount
            if not name.startswith(BLOCK):
                continue
            replayed = self._blocks.get(name)
            if replayed is None:
                self._miss(name, row)
                continue
            self._move(replayed, amount, row)
            if not replayed.is_made:
                replayed.is_made, replayed.granted_micro = True, amount
            elif stored.kind == "expiry":
                self._expire(replayed, stored, row)
            elif stored.kind == "debt_payment" and replayed.row.block.effective_at > stored.posted_at:
                self._report(23, row, f"draws from {name}, which is not effective yet")
        if sums[DEBT] > 0:
            self._report(13, row, f"pays {sums[DEBT]} more than was owed")

    def _miss(self, name: str, row: str) -> None:
        if name not in self._missing:
            self._missing.add(name)
            self._report(4, f"credit_blocks {name.removeprefix(BLOCK)}", f"{row} moves it, the account has no such row")

    def _move(self, replayed: Replayed, amount: int, row: str) -> None:
        before = replayed.remaining_micro
        replayed.remaining_micro = after = before + amount
        if before <= 0 < after:
            insort(self._open, (replayed.order, replayed))
        elif after <= 0 < before:
            self._open.remove((replayed.order, replayed))
        if not 0 <= after <= replayed.row.granted_micro and not replayed.is_reported:
            replayed.is_reported = True
            message = f"leaves {after} of {replayed.row.granted_micro} in block {replayed.row.block.id}"
            self._report(13, row, message)

    def _expire(self, replayed: Replayed, stored: Transaction, row: str) -> None:
        block = replayed.row.block
        if replayed.remaining_micro:
            self._report(24, row, f"leaves {replayed.remaining_micro} in block {block.id}, which it expires")
        if stored.posted_at < block.expires_at:
            self._report(24, row, f"expires block {block.id} before its time")

    def add_event(self, event: chain.ChainedEvent) -> None:
        """Prove one event of the transaction that was begun last."""
        if self._events is None:
            own = None if self._stored is None else self.reservations.own(self._stored)
            self._events = _EventsProof(self._draws, own, self._report)
        self._events.add(event)

    def end(self) -> None:
        """Compare the transaction with the events that were added."""
        stored, events = self._stored, self._events
        if stored is None:
            return
        digest, drawn = (None, Counter[str]()) if events is None else (events.digest.value(), events.drawn)
        self.reservations.prove(stored, drawn)
        if digest != stored.events_digest and stored.kind != OPENED:  # an opening's is of its reservation
            self._report(9, self._row(stored.seq), "its usage events are not the ones that it was posted with")
        if stored.kind == "usage" or (events is not None and not stored.kind.startswith("reservation_")):
            self._compare_with_events(stored, drawn)

    def _compare_with_events(self, stored: Transaction, drawn: Counter[str]) -> None:
        posted: dict[str, int] = defaultdict(int)
        for name, amount in stored.lines:
            posted[name] += amount
        for name in sorted(drawn.keys() | posted.keys()):
            if drawn.get(name, 0) != posted.get(name, 0):
                message = f"{name} moves by {posted.get(name, 0)}, its events give {drawn.get(name, 0)}"
                self._report(7, f"ledger_lines {self._account.id} seq {stored.seq}", message)

    def compare_head(self, day: date, head_hash: bytes) -> None:
        """Compare the transaction that was begun last with the head that the checkpoint of a day has of it."""
        if self._stored is not None and self._stored.hash != head_hash:
            row = f"ledger_checkpoint_heads {self._account.id} seq {self._stored.seq}"
            self._report(
                9, row, f"the checkpoint of {day} has another hash of this transaction: the chain was rewritten"
            )

    def finish(self) -> None:
        """Compare the account and its blocks with what all transactions give."""
        account, again = self._account, self._again
        blocks = [replayed.row.block for replayed in self._blocks.values()]
        remaining = sum(block.remaining_micro for block in blocks if not block.is_scheduled)
        figures = Figures(
            *(account.id, account.seq, again.seq, account.head_hash, again.head_hash),
            *(account.total_micro, self.sums["block"] + self.sums[DEBT], account.debt_micro, remaining),
        )
        compare_end(figures, self._report)
        for replayed in self._blocks.values():
            self._compare_block(replayed)
        self.reservations.finish()
        compare_blocks(figures, self._report)
        row = figures.row
        if account.debt_micro != -self.sums[DEBT]:
            self._report(3, row, f"has a debt of {account.debt_micro}, its entries give {-self.sums[DEBT]}")
        used = sum(self.sums[kind] for kind in ("consumed", "expired", "voided", "reserved", "paused"))
        owed = account.debt_micro - self.sums["issued"] - self.sums["billed"]
        if owed != remaining + used:
            self._report(6, row, f"issued, billed and owed is {owed}, not {remaining + used}")

    def _compare_block(self, replayed: Replayed) -> None:
        block, granted_micro = replayed.row.block, replayed.row.granted_micro
        row = f"credit_blocks {block.id}"
        if block.is_scheduled:
            if replayed.is_made:
                self._report(4, row, "is still to be granted, and has entries")
            return
        if block.remaining_micro != replayed.remaining_micro:
            self._report(4, row, f"has {block.remaining_micro} left, its entries give {replayed.remaining_micro}")
        if granted_micro != replayed.granted_micro:
            self._report(4, row, f"was granted {granted_micro}, its entries say {replayed.granted_micro}")
        if not 0 <= block.remaining_micro <= granted_micro:
            self._report(5, row, f"has {block.remaining_micro} left of {granted_micro}")

    def _row(self, seq: int) -> str:
        return f"ledger_transactions {self._account.id} seq {seq}"


def _post_again(account: Account, stored: Transaction, rest: int) -> Transaction:
    """What posting the same thing gives; that the lines do not balance was reported already."""
    lines: Lines = [*stored.lines, ("unbalanced", -rest)] if rest else stored.lines
    origin = Origin(stored.actor, stored.reason, stored.idempotency_key)
    return account.post(stored.kind, lines, stored.posted_at, origin, events_digest=stored.events_digest)


class _EventsProof:
    """The events of one transaction, by id."""

    def __init__(self, draws: DrawsProof, held: HeldRow | None, report: Report) -> None:
        """`held` is the reservation that the transaction ends: its commit uses first what it had drawn."""
        self.digest = chain.RunningDigest()
        self.drawn = Counter[str]()
        """By ledger account: what the events say that the transaction's lines are."""
        self._draws = draws
        self._held = held
        self._report = report

    def add(self, event: chain.ChainedEvent) -> None:
        self.digest.add(event)
        row = _event_row(event)
        draws = self._draws.read(row, event.draws, 7)
        drawn, debt, total = self.drawn, event.debt_micro, event.debt_micro
        for block_id, amount in draws:
            total += amount
            drawn[block_account(block_id)] -= amount
            if amount <= 0:
                self._report(7, row, f"draws {amount} from block {block_id}")
        if total != event.cost_micro:
            self._report(7, row, f"its draws and its debt are {total}, its cost {event.cost_micro}")
        if debt:
            drawn[DEBT] -= debt
        if event.cost_micro:
            drawn[f"consumed:{event.feature_key}"] += event.cost_micro
        if self._held is None:
            self._draws.prove(Taken(row, event.accepted_at, draws, debt))
        else:
            self._prove_commit(self._held, event, draws)

    def _prove_commit(self, held: HeldRow, event: chain.ChainedEvent, draws: Draws) -> None:
        if event.event_id != held.row.id.bytes:
            self._report(30, _event_row(event), f"is not of reservation {held.row.id}")
        extra = extra_of(held, event, draws)
        if extra is None:
            self._report(22, _event_row(event), f"does not use first what reservation {held.row.id} had drawn")
        else:
            self._draws.prove(extra if _keeps_turn(held, extra) else self._draws.in_turn(extra))


def _keeps_turn(held: HeldRow, extra: Taken) -> bool:
    """Whether the row still says in which turn the extra was drawn.

    What was drawn again from a block of the opening stands with what the opening drew, before all that came after.
    """
    return not {block_id for block_id, _ in held.draws} & {block_id for block_id, _ in extra.draws}


def _event_row(event: chain.ChainedEvent) -> str:
    return f"usage_events {UUID(bytes=event.event_id)}"
