"""The ledger as its description says it: one entry at a time, plain integers, naive lists, nothing clever.

Written from the design of the ledger and of the credit protocol, not from the code, so that where the two differ one of
them is wrong. Amounts are whole micro-credits, moments whole microseconds, and everything has a name: customers, usage
(by its idempotency key), grants and orders. Who plays a program here says what cannot follow from it: at which moments
entries were accepted, where an edge left a tick, and when an edge learned of what the ledger has.
"""

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
    doubled: int = 0
    """Cost of usage that was accepted once more, until an edge learns that the ledger had it."""
    issued: Counter[str] = field(default_factory=Counter)
    consumed: Counter[str] = field(default_factory=Counter)
    expired: int = 0
    voided: int = 0

    @property
    def total(self) -> int:
        """What the blocks hold less the debt."""
        return sum(block.remaining for block in self.blocks) - self.debt

    def available(self, at: int) -> int:
        """What an edge believes that can be spent: it knows of no other blocks."""
        known = [block.remaining for block in self.blocks if block.is_known and block.expires_at > at]
        return sum(known) - self.debt - self.doubled

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


class Reference:
    """The ledger of several customers. `reached` counts the rules that were needed."""

    def __init__(self, reached: Counter[str]) -> None:
        self.customers: dict[str, Customer] = {}
        self.reached = reached

    def open(self, who: str) -> None:
        """A new customer, with nothing."""
        self.customers[who] = Customer()

    # ---- what core does at once

    def grant(self, who: str, block: Block, source: str) -> None:
        """Credit is added. It is drawn from by entries of edges that know of it, and by no others."""
        customer = self.customers[who]
        block.remaining = block.granted
        customer.blocks.append(block)
        customer.issued[source] += block.granted

    # ---- what the edge does

    def learn(self, who: str, doubled: int = 0) -> None:
        """The ledger's figures reach the edge. `doubled`: cost that is under way though the ledger has its usage."""
        customer = self.customers[who]
        customer.doubled = doubled
        for block in customer.blocks:
            block.is_known = True

    def forget(self, who: str, key: str) -> None:
        """The edge's window for an idempotency key is over; the ledger's never is."""
        self.customers[who].answers.pop(key, None)

    def use(self, who: str, key: str, feature: str, cost: int, at: int, *, enforce: bool) -> Answer:
        """Usage: answered by the edge, and posted."""
        customer = self.customers[who]
        if key in customer.answers:
            self.reached["duplicate answered from memory"] += 1
            return customer.answers[key]
        available = customer.available(at)
        if enforce and cost > 0 and available < cost:
            self.reached["refused for credit"] += 1
            customer.answers[key] = Answer(accepted=False, cost=cost, available=available)
            return customer.answers[key]
        overage = min(cost, max(0, cost - max(0, available)))
        customer.answers[key] = Answer(accepted=True, cost=cost, available=available - cost, overage=overage)
        self._post(customer, key, feature, cost, at)
        return customer.answers[key]

    # ---- what the ledger does, entry by entry

    def tick(self, who: str, at: int) -> None:
        """An entry that only says what time it is."""
        customer = self.customers[who]
        self._pass_time(customer, at)
        self._pay_debt(customer, at)

    def _post(self, customer: Customer, key: str, feature: str, cost: int, at: int) -> None:
        self._pass_time(customer, at)
        if key in customer.events:
            self.reached["duplicate ignored"] += 1
            customer.doubled += cost
            return
        self._pay_debt(customer, at)
        if any(block.remaining and not block.is_known for block in customer.blocks):
            self.reached["unknown block not drawn"] += 1
        draws = customer.take(cost, at)
        debt = cost - sum(amount for _, amount in draws)
        customer.debt += debt
        customer.consumed[feature] += cost
        customer.events[key] = Event(feature, cost, draws, debt)
        self.reached["usage that makes debt"] += debt > 0
        self.reached["block drawn in part"] += any(block.remaining for block, _ in draws)
        self.reached["two blocks drawn by one event"] += len(draws) > 1
        self.reached["free usage"] += not cost

    def _pass_time(self, customer: Customer, at: int) -> None:
        """What has run out by now expires, in its order; credit that is about to expire pays open debt first."""
        while due := [block for block in customer.blocks if block.remaining and block.expires_at <= at]:
            moment = min(block.expires_at for block in due)
            if paid := self._pay_debt(customer, moment - 1):
                self.reached["debt paid from a block that expires"] += any(b.expires_at == moment for b in paid)
            for block in due:
                if block.expires_at == moment and block.remaining:
                    self.reached["unused credit expires"] += 1
                    customer.expired += block.remaining
                    block.remaining = 0

    def _pay_debt(self, customer: Customer, at: int) -> list[Block]:
        """Known credit pays open debt before anything else; the blocks that paid."""
        draws = customer.take(customer.debt, at)
        self.reached["debt paid from a later grant"] += bool(draws)
        customer.debt -= sum(amount for _, amount in draws)
        return [block for block, _ in draws]

    # ---- orders: carried out, or refused, in their place in the stream; once

    def void_usage(self, who: str, order: str, key: str, at: int) -> None:
        """An event is to be as if it had not been."""
        customer = self._begin_order(who, order, at)
        if customer is not None:
            customer.outcomes[order] = self._void_usage(customer, order, customer.events.get(key), at)

    def void_grant(self, who: str, order: str, name: str, at: int, *, allow_debt: bool) -> None:
        """A grant is to be taken back; what is spent of it becomes debt, or stands in the way."""
        customer = self._begin_order(who, order, at)
        if customer is not None:
            customer.outcomes[order] = self._void_grant(customer, customer.block(name), at, allow_debt=allow_debt)

    def debit(self, who: str, order: str, amount: int, at: int, *, allow_debt: bool) -> None:
        """Credit is to be taken; what is not there becomes debt, or stands in the way."""
        customer = self._begin_order(who, order, at)
        if customer is not None:
            customer.outcomes[order] = self._debit(customer, amount, at, allow_debt=allow_debt)

    def _begin_order(self, who: str, order: str, at: int) -> Customer | None:
        """An order is an entry like others: time passes, debt is paid. None where the order was met before."""
        customer = self.customers[who]
        self._pass_time(customer, at)
        if order in customer.outcomes:
            self.reached["order met twice"] += 1
            return None
        self._pay_debt(customer, at)
        return customer

    def _void_usage(self, customer: Customer, order: str, event: Event | None, at: int) -> Outcome:
        if event is None:
            self.reached["void of an unknown event"] += 1
            return "not_found", 0
        if event.is_voided:
            self.reached["void of a voided event"] += 1
            return "already_voided", 0
        event.is_voided = True
        customer.consumed[event.feature] -= event.cost
        owed = event.debt
        for block, amount in event.draws:
            if block.is_voided:  # what was drawn from it became debt when it was voided
                self.reached["void of usage of a voided grant"] += 1
                owed += amount
            elif block.expires_at <= at:
                self.reached["void into an expired block"] += 1
                customer.expired += amount
            else:
                self.reached["void into a live block"] += 1
                block.remaining += amount
        forgiven = min(owed, customer.debt)
        customer.debt -= forgiven
        self.reached["void of an event with open debt"] += forgiven > 0
        if owed > forgiven:  # it was paid since, and nobody remembers from which credit
            self.reached["void with a refund"] += 1
            refund = Block(
                f"refund by {order}", owed - forgiven, REFUND_PRIORITY, is_paid=False, granted_at=at, expires_at=NEVER
            )
            refund.remaining, refund.is_known = refund.granted, True
            customer.blocks.append(refund)
        return DONE

    def _void_grant(self, customer: Customer, block: Block | None, at: int, *, allow_debt: bool) -> Outcome:
        if block is None:
            self.reached["void of an unknown grant"] += 1
            return "not_found", 0
        if block.is_voided:
            self.reached["void of a voided grant"] += 1
            return "already_voided", 0
        if block.expires_at <= at:
            self.reached["void of an expired grant"] += 1
            return "grant_expired", 0
        spent = block.granted - block.remaining
        if spent and not allow_debt:
            self.reached["void of a spent grant refused"] += 1
            return "grant_spent", spent
        self.reached["void of a spent grant with debt" if spent else "void of an unspent grant"] += 1
        customer.voided += block.granted
        customer.debt += spent
        block.remaining, block.is_voided = 0, True
        return DONE

    def _debit(self, customer: Customer, amount: int, at: int, *, allow_debt: bool) -> Outcome:
        there = sum(b.remaining for b in customer.blocks if b.is_known and b.granted_at <= at < b.expires_at)
        if there < amount and not allow_debt:
            self.reached["debit refused"] += 1
            return "insufficient_credits", there
        self.reached["debit covered" if amount <= there else "debit with debt"] += 1
        customer.take(amount, at)
        customer.debt += max(0, amount - there)
        customer.issued["adjustment"] -= amount
        return DONE
