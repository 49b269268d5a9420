"""What the reference keeps of a customer: plain integers and naive lists, and everything by its name."""

from collections import Counter
from dataclasses import dataclass, field

NEVER = 2**53 - 1
REFUND_PRIORITY = 100


@dataclass
class Block:
    """A grant's credit. It may be drawn from by who knows it, from `granted_at` until before `expires_at`."""

    name: str
    granted: int
    priority: int
    is_paid: bool
    granted_at: int
    expires_at: int
    remaining: int = 0
    is_known: bool = False
    is_voided: bool = False

    def burn_order(self) -> tuple[int, int, bool, int]:
        """Priority ascending, what expires first, never last, free before paid, what was granted first."""
        return self.priority, self.expires_at, self.is_paid, self.granted_at


@dataclass
class Event:
    """Usage as it was posted: what it drew, block by block, and the debt that it made."""

    feature: str
    cost: int
    draws: list[tuple[Block, int]]
    debt: int
    is_voided: bool = False


@dataclass
class Hold:
    """A reservation as it was posted: what it drew, block by block, the debt that it made, and how it ended."""

    feature: str
    reserved: int
    draws: list[tuple[Block, int]]
    debt: int
    state: str = "open"
    used: int = 0


@dataclass
class EdgeHold:
    """A reservation as the edge remembers it. What is None has not been asked for."""

    reserved: int
    due: int
    state: str = "open"
    asked: int = 0
    """By its one end: what a commit used."""
    late: int | None = None


@dataclass(frozen=True)
class Ended:
    """What an edge says of a call that ends a reservation: how, or in which state it is instead."""

    kind: str
    used: int = 0
    released: int = 0


@dataclass(frozen=True)
class Answer:
    """What an edge says of usage. `available` is what is left after it, or, where it is refused, what there is."""

    accepted: bool
    cost: int
    available: int
    overage: int = 0


Outcome = tuple[str, int]
"""What became of an order: `done`, or why it was refused; and the amount that stood in its way, else 0."""
DONE: Outcome = ("done", 0)


@dataclass
class Customer:
    """Everything about one customer."""

    blocks: list[Block] = field(default_factory=list)
    debt: int = 0
    events: dict[str, Event] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    """What the edge remembers of idempotency keys."""
    holds: dict[str, Hold] = field(default_factory=dict)
    edge_holds: dict[str, EdgeHold] = field(default_factory=dict)
    reserved: int = 0
    surprises: list[int] = field(default_factory=list)
    """Of entries in their order: what an edge counted as their cost above what they really cost, until it learns."""
    issued: Counter[str] = field(default_factory=Counter)
    consumed: Counter[str] = field(default_factory=Counter)
    expired: int = 0
    voided: int = 0

    @property
    def total(self) -> int:
        """What the blocks hold less the debt."""
        return sum(block.remaining for block in self.blocks) - self.debt

    @property
    def known(self) -> int:
        """The same of the blocks of which the edge knows."""
        return sum(block.remaining for block in self.blocks if block.is_known) - self.debt

    def available(self, at: int) -> int:
        """What an edge believes that can be spent. It believes in nothing that has run out by then."""
        due = [block.remaining for block in self.blocks if block.is_known and block.expires_at <= at]
        assert sum(due) <= max(0, sum(self.surprises)), "an edge decides with credit that has run out"
        return self.known - sum(self.surprises)

    def has_run_out(self, at: int) -> bool:
        """Whether credit that an edge knows of should have expired by then."""
        return any(block.is_known and block.remaining and block.expires_at <= at for block in self.blocks)

    def note(self, counted: int, before: int) -> None:
        """An entry was posted: what the edge counted as its cost, and `known` before it."""
        self.surprises.append(counted - (before - self.known))

    def block(self, name: str) -> Block | None:
        """The block of this name."""
        return next((block for block in self.blocks if block.name == name), None)

    def take(self, amount: int, at: int) -> list[tuple[Block, int]]:
        """Draw as much of an amount as known blocks have, in burn order."""
        draws: list[tuple[Block, int]] = []
        for block in sorted(self.blocks, key=Block.burn_order):
            taken = min(amount, block.remaining)
            if taken and block.is_known and block.granted_at <= at < block.expires_at:
                block.remaining -= taken
                amount -= taken
                draws.append((block, taken))
        return draws
