"""What a program can do. An action is a class: what it does to the pure parts, and to the reference.

A new kind of step is a new class here and a function in `steps.py` that makes one up.
"""

from dataclasses import dataclass
from typing import Protocol, TypedDict
from uuid import UUID

from app.rules.burndown import Block as LedgerBlock
from app.wire.orders import Debit, Order, VoidGrant, VoidUsage
from tests.ledger_model.customer import NEVER, Answer, Block, Ended
from tests.ledger_model.parts import Parts, block_id, event_id, order_id
from tests.ledger_model.reference import Reference

ACTOR = "core"
NOTHING = "nothing"
"""The name of what never was."""


class Unavailable(Exception):
    """The product did not take the action, and nothing has happened."""


class Action(Protocol):
    """One step of a program. The two sides' answers must be equal."""

    def on_parts(self, parts: Parts) -> object:
        """Do it to the pure parts; their answer. Raises Unavailable."""
        ...

    def on_reference(self, reference: Reference, at: int) -> object:
        """Do it to the reference; its answer."""
        ...

    def afterwards(self, parts: Parts) -> None:
        """What the product does next by itself, once the reference has the action too."""
        ...


@dataclass(frozen=True)
class Use:
    """Usage, new or repeated."""

    who: str
    key: str
    feature: str
    cost: int
    enforce: bool

    def on_parts(self, parts: Parts) -> Answer:
        """One request."""
        answer = parts.use(self.who, self.key, self.feature, self.cost, enforce=self.enforce)
        if answer is None:
            raise Unavailable
        return answer

    def on_reference(self, reference: Reference, at: int) -> Answer:
        """The same."""
        return reference.use(self.who, self.key, self.feature, self.cost, at, enforce=self.enforce)

    def afterwards(self, parts: Parts) -> None:
        """It waits in the stream."""


@dataclass(frozen=True)
class Hold:
    """Credit is reserved, anew or once more."""

    who: str
    key: str
    feature: str
    cost: int
    lasts: int
    enforce: bool

    def on_parts(self, parts: Parts) -> Answer:
        """One request."""
        hold = self.feature, self.cost, self.lasts
        answer = parts.reserve(self.who, self.key, hold, enforce=self.enforce)
        if answer is None:
            raise Unavailable
        return answer

    def on_reference(self, reference: Reference, at: int) -> Answer:
        """The same."""
        hold = self.feature, self.cost, self.lasts
        return reference.reserve(self.who, self.key, hold, at, enforce=self.enforce)

    def afterwards(self, parts: Parts) -> None:
        """It waits in the stream."""


@dataclass(frozen=True)
class EndHold:
    """A reservation is committed, released, or expired where it is past due."""

    who: str
    key: str
    verb: str
    used: int = 0

    def on_parts(self, parts: Parts) -> Ended:
        """One request."""
        return parts.end(self.who, self.key, self.verb, self.used)

    def on_reference(self, reference: Reference, at: int) -> Ended:
        """The same."""
        return reference.end(self.who, self.key, self.verb, self.used, at)

    def afterwards(self, parts: Parts) -> None:
        """It waits in the stream."""


@dataclass(frozen=True)
class ExtendHold:
    """A reservation is to be open longer."""

    who: str
    key: str
    lasts: int

    def on_parts(self, parts: Parts) -> str:
        """One request."""
        return parts.extend(self.who, self.key, self.lasts)

    def on_reference(self, reference: Reference, at: int) -> str:
        """The same."""
        return reference.extend(self.who, self.key, self.lasts, at)

    def afterwards(self, parts: Parts) -> None:
        """It waits in the stream."""


@dataclass(frozen=True)
class ForgetHold:
    """The edge's window of a reservation that has ended is over."""

    who: str
    key: str

    def on_parts(self, parts: Parts) -> None:
        """It expires in Redis."""
        if not parts.forget_hold(self.who, self.key):
            raise Unavailable

    def on_reference(self, reference: Reference, at: int) -> None:
        """The same."""
        del at
        reference.forget_hold(self.who, self.key)

    def afterwards(self, parts: Parts) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Grant:
    """Credit from core. `is_published`: core lives to tell the edge of it."""

    who: str
    name: str
    amount: int
    priority: int
    is_paid: bool
    lives: int | None
    """Until it expires; None = for ever."""
    is_published: bool = True

    @property
    def source(self) -> str:
        """Paid credit is a top-up."""
        return "topup" if self.is_paid else "promo"

    def _expires_at(self, at: int) -> int:
        return NEVER if self.lives is None else at + self.lives

    def on_parts(self, parts: Parts) -> None:
        """Core's transaction."""
        now = parts.now
        block = LedgerBlock(
            block_id(self.name),
            self.amount,
            self.priority,
            self.is_paid,
            parts.next_revision(self.who),
            now,
            self._expires_at(now),
            now,
        )
        parts.grant(self.who, self.name, block, self.source)

    def on_reference(self, reference: Reference, at: int) -> None:
        """The same, not known to the edge."""
        block = Block(self.name, self.amount, self.priority, self.is_paid, at, self._expires_at(at))
        reference.grant(self.who, block, self.source)

    def afterwards(self, parts: Parts) -> None:
        """Core publishes what it has committed."""
        if self.is_published:
            parts.publish(self.who)


class _Ordering:
    """What all orders have in common: the flusher, where it runs, carries them out at once."""

    def afterwards(self, parts: Parts) -> None:
        """The flusher's turn."""
        parts.flush(1_000)


@dataclass(frozen=True)
class VoidEvent(_Ordering):
    """An event is voided by its key."""

    who: str
    order: str
    key: str

    def on_parts(self, parts: Parts) -> None:
        """Core takes no void of what is accepted and not posted."""
        target = event_id(self.who, self.key)
        if target not in parts.rows.events and parts.is_waiting(target):
            raise Unavailable
        parts.order(self.who, VoidUsage(event_id=target, **_said(self.order)))

    def on_reference(self, reference: Reference, at: int) -> None:
        """The same."""
        reference.void_usage(self.who, self.order, self.key, at)


@dataclass(frozen=True)
class VoidBlock(_Ordering):
    """A grant is voided."""

    who: str
    order: str
    name: str
    allow_debt: bool

    def on_parts(self, parts: Parts) -> None:
        """Core takes no void of a refund that is not there yet."""
        target = next((made for made, name in parts.rows.names.items() if name == self.name), None)
        if target is None and self.name != NOTHING:
            raise Unavailable
        target = target or block_id(self.name)
        order = VoidGrant(block_id=target, allow_debt=self.allow_debt, **_said(self.order))
        parts.order(self.who, order)

    def on_reference(self, reference: Reference, at: int) -> None:
        """The same."""
        reference.void_grant(self.who, self.order, self.name, at, allow_debt=self.allow_debt)


@dataclass(frozen=True)
class Take(_Ordering):
    """Credit is taken; core has no request for it yet, only the order."""

    who: str
    order: str
    amount: int
    allow_debt: bool

    def on_parts(self, parts: Parts) -> None:
        """One order."""
        order: Order = Debit(amount_micro=self.amount, allow_debt=self.allow_debt, **_said(self.order))
        parts.order(self.who, order)

    def on_reference(self, reference: Reference, at: int) -> None:
        """The same."""
        reference.debit(self.who, self.order, self.amount, at, allow_debt=self.allow_debt)


class _Said(TypedDict):
    order_id: UUID
    actor: str
    idempotency_key: str


def _said(order: str) -> _Said:
    return {"order_id": order_id(order), "actor": ACTOR, "idempotency_key": order}


class _Alone:
    """What concerns only one side's machinery: the reference has no part in it."""

    def on_reference(self, reference: Reference, at: int) -> None:
        """Nothing."""

    def afterwards(self, parts: Parts) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Forget(_Alone):
    """The edge's window of a key is over."""

    who: str
    key: str

    def on_parts(self, parts: Parts) -> None:
        """It expires in Redis."""
        parts.forget(self.who, self.key)

    def on_reference(self, reference: Reference, at: int) -> None:
        """The same."""
        del at
        reference.forget(self.who, self.key)


@dataclass(frozen=True)
class Wait(_Alone):
    """Time passes."""

    microseconds: int

    def on_parts(self, parts: Parts) -> None:
        """The one clock."""
        parts.now += self.microseconds


@dataclass(frozen=True)
class Sweep(_Alone):
    """Jobs look after a customer."""

    who: str

    def on_parts(self, parts: Parts) -> None:
        """A tick, where one is due."""
        parts.sweep(self.who)


@dataclass(frozen=True)
class Flush(_Alone):
    """A turn of the flusher, which may die in it before it publishes."""

    size: int
    most: int = 1_000
    publishes: bool = True

    def on_parts(self, parts: Parts) -> None:
        """Post what waits."""
        parts.flush(self.size, self.most, publishes=self.publishes)


@dataclass(frozen=True)
class Stop(_Alone):
    """The flusher stops. `how`: `stop` in good order, `kill` at once."""

    how: str = "stop"

    def on_parts(self, parts: Parts) -> None:
        """From now on entries pile up."""
        parts.is_up = False


@dataclass(frozen=True)
class Start(_Alone):
    """The flusher starts again, and posts what has piled up, in batches of `size`."""

    size: int = 1_000

    def on_parts(self, parts: Parts) -> None:
        """It posts what has piled up."""
        parts.is_up = True
        parts.flush(self.size)


@dataclass(frozen=True)
class KillEdge(_Alone):
    """The edge is killed and started again. It keeps nothing, so the pure parts know no difference."""

    def on_parts(self, parts: Parts) -> None:
        """Nothing."""
