"""A program on both sides: action by action, with equal answers and equal books; at its end the ledger written anew."""

from collections import Counter

from app.wire.events import StreamEntry
from tests.ledger_model.actions import Action, Unavailable
from tests.ledger_model.figures import check_balance, of_reference, of_rows
from tests.ledger_model.one_by_one import Flusher
from tests.ledger_model.parts import Logged, Parts
from tests.ledger_model.reference import Reference
from tests.ledger_model.rows import Rows
from tests.ledger_model.steps import NAMES, Cast

REPLAYS = ((1, 1), (7, 7), (1_000, 1), (1_000, 7), (1_000, 1_000))
"""(lag, most entries at once) of a ledger that is written anew from the stream."""


class Run:
    """One program on both sides."""

    def __init__(self, flusher: Flusher, reached: Counter[str], cast: Cast) -> None:
        self.reference, self.flusher, self.cast = Reference(reached), flusher, cast
        for who in NAMES:
            self.reference.open(who)
        self.parts = Parts([*NAMES], flusher, self.reference, reached)
        self.trace: list[str] = []

    def take(self, action: Action) -> None:
        """One action: equal answers, and equal books where nothing waits."""
        self.trace.append(f"{self.parts.now}: {action}")
        try:
            answer = action.on_parts(self.parts)
        except Unavailable:
            self.trace[-1] += " unavailable"
            return
        assert answer == action.on_reference(self.reference, self.parts.now), self.told()
        self.cast.note(action)
        action.afterwards(self.parts)
        self.parts.now += 1
        if not self.parts.waiting:
            self.compare(self.parts.rows)

    def finish(self) -> None:
        """The flusher comes back; then the ledger is written anew, with other lags and in other batches."""
        self.parts.is_up = True
        self.parts.flush(1_000)
        self.compare(self.parts.rows)
        for lag, size in REPLAYS:
            self.trace.append(f"read again: lag {lag}, at once {size}")
            self.compare(write_anew(self.parts.log, self.flusher, lag, size))

    def compare(self, rows: Rows) -> None:
        """Both sides have the same books, customer by customer."""
        for who, customer in self.reference.customers.items():
            check_balance(customer)
            assert of_rows(rows, who, customer) == of_reference(customer), self.told(who)

    def told(self, who: str = "") -> str:
        """The program so far."""
        return "\n".join([*self.trace, who])


def write_anew(log: list[Logged], flusher: Flusher, lag: int, size: int) -> Rows:
    """The ledger of the same grants and entries: posted when `lag` have piled up, `size` at once."""
    rows, waiting = Rows(), list[StreamEntry]()
    for who in NAMES:
        rows.open(who)
    for logged in log:
        if isinstance(logged, StreamEntry):
            waiting.append(logged)
        else:
            rows.grant(*logged)
        if len(waiting) >= lag:
            list(flusher(rows, waiting, size))
            waiting = []
    list(flusher(rows, waiting, size))
    return rows
