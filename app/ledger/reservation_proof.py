"""Proof of an account's reservations, from their rows and the transactions that open and end them (28-32). Pure.

What is kept meanwhile are those that are open at one point of the replay, however many there ever were.
"""

from collections import Counter
from uuid import UUID

import msgspec

from app.ledger.book import (
    DEBT,
    EXPIRED,
    Account,
    Reservation,
    Transaction,
    block_account,
    paused_account,
    reserved_account,
)
from app.ledger.draws_proof import Draws, DrawsProof, Report, Taken
from app.ledger.returning import Drawn, end_of, returned_id
from app.rules import chain

OPENED = "reservation_opened"
RESERVED = "reserved:"
BLOCK = "block:"


class HeldRow(msgspec.Struct, frozen=True):
    """A reservation as its row has it, and what that says it drew."""

    row: Reservation
    draws: Draws


class ReservationsProof:
    """Takes each reservation with the transaction that opened it, and each transaction of a reservation once."""

    def __init__(self, account: Account, draws: DrawsProof, report: Report) -> None:
        self._account = account
        self._draws = draws
        self._report = report
        self._open: dict[UUID, Reservation] = {}
        self._ending: dict[int, HeldRow] = {}
        """Of those that are open here: the seq at which their rows say that they end."""
        self._opening: Reservation | None = None
        self._reserved_micro = 0

    @property
    def count(self) -> int:
        """How many are kept."""
        return len(self._open)

    def add(self, reservation: Reservation) -> None:
        """The reservation whose row names the transaction that was begun last as its opening."""
        self._opening = reservation

    def own(self, stored: Transaction) -> HeldRow | None:
        """The reservation that a transaction ends, as its row says."""
        return self._ending.get(stored.seq)

    def prove(self, stored: Transaction, drawn: Counter[str]) -> None:
        """Prove a transaction's part in reservations; `drawn` is what its events say, by ledger account."""
        opening, self._opening = self._opening, None
        ending = self._ending.pop(stored.seq, None)
        for name, amount in stored.lines:
            if name.startswith(RESERVED):
                self._reserved_micro += amount
        if opening is not None or stored.kind == OPENED:
            self._prove_opening(stored, opening)
        if ending is not None:
            self._open.pop(ending.row.id, None)
            self._prove_end(stored, ending, drawn)
        elif stored.kind.startswith("reservation_") and stored.kind != OPENED:
            self._report(29, self._row(stored), "ends a reservation of which no row says so")

    def _prove_opening(self, stored: Transaction, opening: Reservation | None) -> None:
        if opening is None:
            self._report(28, self._row(stored), "opens a reservation that has no row")
            return
        row = _name(opening)
        draws = self._draws.read(row, opening.draws, 28)
        if opening.ended_seq is not None:
            self._ending[opening.ended_seq] = HeldRow(opening, draws)
        self._open[opening.id] = opening
        if chain.reservation_digest(opening.chained()) != stored.events_digest or stored.kind != OPENED:
            self._report(9, self._row(stored), "its reservation is not the one that it was posted with")
        expected = Counter({block_account(block_id): -amount for block_id, amount in draws})
        expected[DEBT] -= opening.debt_micro
        expected[reserved_account(opening.id)] += opening.reserved_micro
        self._compare(28, stored, expected)
        self._draws.prove(Taken(row, opening.opened_at, draws, opening.debt_micro))

    def _prove_end(self, stored: Transaction, held: HeldRow, drawn: Counter[str]) -> None:
        ending, row = held.row, _name(held.row)
        if stored.kind != f"reservation_{ending.state.value}":
            self._report(29, row, f"is {ending.state.value}, its end is {stored.kind} seq {stored.seq}")
        if ending.ended_at is None or not ending.opened_at <= ending.ended_at <= stored.posted_at:
            self._report(29, row, f"did not end when seq {stored.seq} was posted")
        used_micro = drawn[f"consumed:{ending.feature_key}"]
        if ending.used_micro != used_micro:
            self._report(30, row, f"has used {ending.used_micro}, its event {used_micro}")
        self._compare_end(stored, held, drawn)

    def _compare_end(self, stored: Transaction, held: HeldRow, drawn: Counter[str]) -> None:
        """What was reserved less what was used is in the blocks again, or where it goes if it cannot go there."""
        ending, expected, posted = held.row, Counter(drawn), _summed(stored)
        expected[reserved_account(ending.id)] -= ending.reserved_micro
        expected[DEBT] += ending.debt_micro
        aside = Counter[str]()
        for block_id, amount in held.draws:
            name = block_account(block_id)
            expected[name] += amount
            if expected[name] > 0 and not posted[name]:
                moved = expected.pop(name)
                if posted[waits := self._aside_of(name)] > 0:
                    aside[waits] += moved
                else:
                    expected[self._instead(name, stored, returned_id(end_of(ending), block_id))] += moved
        _expect_aside(aside, expected, posted)
        for name in posted.keys() - expected.keys():
            if name.startswith(BLOCK) and self._is_made_by(name, posted[name]):  # a refund of debt that was paid since
                expected[DEBT] -= posted[name]
                expected[name] += posted[name]
        self._compare(30 if ending.used_micro else 31, stored, expected)

    def _aside_of(self, name: str) -> str:
        """Where what comes back to a block waits, while what it is tied to stands still."""
        replayed = self._draws.blocks.get(name)
        terms = None if replayed is None else replayed.row.block.terms
        return "" if terms is None or terms.tie is None else paused_account(terms.tie.subscription_id)

    def _instead(self, name: str, stored: Transaction, returned_id: UUID) -> str:
        """Where what cannot go back to a block goes.

        It has a block of its own since a pause, it has expired, or its grant was voided and is owed. What had rolled
        over expires at once where the payment never came that was waited for.
        """
        replayed, returned = self._draws.blocks.get(name), block_account(returned_id)
        if any(name == returned for name, _ in stored.lines):
            return returned
        if replayed is None or min(replayed.row.block.expires_at, replayed.row.lost_at) <= stored.posted_at:
            return EXPIRED
        return name if replayed.remaining_micro else DEBT

    def _is_made_by(self, name: str, amount: int) -> bool:
        replayed = self._draws.blocks.get(name)
        return replayed is not None and replayed.granted_micro == amount == replayed.remaining_micro

    def _compare(self, invariant: int, stored: Transaction, expected: Counter[str]) -> None:
        posted = _summed(stored)
        for name in sorted(expected.keys() | posted.keys()):
            if expected[name] != posted[name]:
                row = f"ledger_lines {self._account.id} seq {stored.seq}"
                message = f"{name} moves by {posted[name]}, its reservation gives {expected[name]}"
                self._report(invariant, row, message)

    def finish(self) -> None:
        """Compare what is open after everything with what the account says."""
        account, row = self._account, f"accounts {self._account.id}"
        for seq, held in self._ending.items():
            self._report(29, _name(held.row), f"ended at seq {seq}, which is no transaction after its opening")
        open_micro = sum(reservation.reserved_micro for reservation in self._open.values())
        if not open_micro == self._reserved_micro == account.reserved_micro:
            message = (
                f"has reserved {account.reserved_micro}, its entries {self._reserved_micro}, open rows {open_micro}"
            )
            self._report(28, row, message)
        if account.open_reservations != len(self._open):
            self._report(
                28, row, f"has {account.open_reservations} open reservations, their rows are {len(self._open)}"
            )

    def _row(self, stored: Transaction) -> str:
        return f"ledger_transactions {self._account.id} seq {stored.seq}"


def _expect_aside(aside: Counter[str], expected: Counter[str], posted: Counter[str]) -> None:
    """Of what may wait, what does; the rest has expired. What has not, though it might, was voided while it lived."""
    for waits, amount in aside.items():
        expected[waits] = min(amount, posted[waits])
        expected[EXPIRED] += amount - expected[waits]
    voided = max(0, expected[EXPIRED] - posted[EXPIRED])
    expected[EXPIRED] -= voided
    expected[DEBT] += voided


def extra_of(held: HeldRow, event: chain.ChainedEvent, draws: Draws) -> Taken | None:
    """What a commit drew above what was reserved; None where it did not use what was reserved first (22)."""
    reserved = Drawn(held.draws, held.row.debt_micro)
    if event.cost_micro <= held.row.reserved_micro:
        used, _ = reserved.split(event.cost_micro)
        return Taken(_event_row(event), event.accepted_at, [], 0) if used == Drawn(draws, event.debt_micro) else None
    own = dict(reserved.draws)
    above = [(block_id, amount - own.pop(block_id, 0)) for block_id, amount in draws]
    debt_micro = event.debt_micro - held.row.debt_micro
    if own or debt_micro < 0 or any(amount < 0 for _, amount in above):
        return None
    return Taken(_event_row(event), event.accepted_at, [draw for draw in above if draw[1]], debt_micro)


def _summed(stored: Transaction) -> Counter[str]:
    sums = Counter[str]()
    for name, amount in stored.lines:
        sums[name] += amount
    return sums


def _name(reservation: Reservation) -> str:
    return f"reservations {reservation.id}"


def _event_row(event: chain.ChainedEvent) -> str:
    return f"usage_events {UUID(bytes=event.event_id)}"
