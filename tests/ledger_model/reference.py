"""The ledger as its description says it: one entry at a time, plain integers, naive lists, nothing clever.

Written from the design of the ledger and of the credit protocol, not from the code, so that where the two differ one of
them is wrong. Amounts are whole micro-credits, moments whole microseconds, and everything has a name: customers, usage
(by its idempotency key), grants and orders. Who plays a program here says what cannot follow from it: at which moments
entries were accepted, where an edge left a tick, when it learned of what the ledger has, and what it counted of the end
of a reservation.
"""

from collections import Counter

from tests.ledger_model.customer import (
    DONE,
    NEVER,
    REFUND_PRIORITY,
    Answer,
    Block,
    Customer,
    EdgeHold,
    Ended,
    Event,
    Hold,
    Outcome,
)


class Reference:
    """The ledger of several customers. `reached` counts the rules that were needed."""

    def __init__(self, reached: Counter[str]) -> None:
        self.customers: dict[str, Customer] = {}
        self.reached = reached
        self.counted: list[int] = []
        """What the edge counted of each entry that the end under way left: it says how certain the edge was."""

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

    def learn(self, who: str, waiting: int = 0) -> None:
        """The ledger's figures reach the edge; so many entries are not in them."""
        customer = self.customers[who]
        del customer.surprises[: len(customer.surprises) - waiting]
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
        before = customer.known
        self._pass_time(customer, at)
        self._pay_debt(customer, at)
        customer.note(0, before)

    def wait_until(self, who: str, at: int) -> None:
        """An edge waits where credit has run out: a tick has it expire, and the edge learns what the ledger has."""
        if self.customers[who].has_run_out(at):
            self.tick(who, at)
            self.learn(who)

    def _post(self, customer: Customer, key: str, feature: str, cost: int, at: int) -> None:
        before = customer.known
        self._pass_time(customer, at)
        if key in customer.events:
            self.reached["duplicate ignored"] += 1
        else:
            self._charge(customer, key, feature, cost, at)
        customer.note(cost, before)

    def _charge(self, customer: Customer, key: str, feature: str, cost: int, at: int) -> None:
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
        customer.surprises.append(0)  # the edge decides nothing until it has learned of the order
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
        self._give_back(customer, ("void", order), event.draws, event.debt, at)
        return DONE

    def _give_back(
        self, customer: Customer, cause: tuple[str, str], draws: list[tuple[Block, int]], owed: int, at: int
    ) -> None:
        """What was owed lowers the debt; credit goes back to its block, or where it goes instead."""
        what, by = cause
        for block, amount in draws:
            if block.is_voided:  # what was drawn from it became debt when it was voided
                self.reached[f"{what} of usage of a voided grant"] += 1
                owed += amount
            elif block.expires_at <= at:
                self.reached[f"{what} into an expired block"] += 1
                customer.expired += amount
            else:
                self.reached[f"{what} into a live block"] += 1
                block.remaining += amount
        forgiven = min(owed, customer.debt)
        customer.debt -= forgiven
        self.reached[f"{what} of an event with open debt"] += forgiven > 0
        if owed > forgiven:  # it was paid since, and nobody remembers from which credit
            self.reached[f"{what} with a refund"] += 1
            again = " again" * sum(block.name.replace(" again", "") == f"refund by {by}" for block in customer.blocks)
            name, amount = f"refund by {by}{again}", owed - forgiven
            refund = Block(name, amount, REFUND_PRIORITY, is_paid=False, granted_at=at, expires_at=NEVER)
            refund.remaining, refund.is_known = refund.granted, True
            customer.blocks.append(refund)

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

    # ---- reservations: the edge

    def reserve(self, who: str, key: str, hold: tuple[str, int, int], at: int, *, enforce: bool) -> Answer:
        """Credit is set aside; `hold` = (feature, how much, for how long)."""
        customer, (feature, cost, lasts) = self.customers[who], hold
        if key in customer.answers:
            self.reached["opening answered from memory"] += 1
            return customer.answers[key]
        if key in customer.edge_holds:  # core put it back, and knows no more than that it was opened
            self.reached["opening of what core put back"] += 1
            return Answer(accepted=True, cost=customer.edge_holds[key].reserved, available=0)
        available = customer.available(at)
        if enforce and cost > 0 and available < cost:
            self.reached["opening refused for credit"] += 1
            customer.answers[key] = Answer(accepted=False, cost=cost, available=available)
            return customer.answers[key]
        customer.answers[key] = Answer(accepted=True, cost=cost, available=available - cost)
        customer.edge_holds[key] = EdgeHold(cost, at + lasts)
        self._open(customer, key, feature, cost, at)
        return customer.answers[key]

    def extend(self, who: str, key: str, lasts: int, at: int) -> str:
        """A reservation is to be open longer."""
        hold = self._edge_hold(self.customers[who], key)
        if hold is None:
            return "unknown"
        if hold.state == "open" and at >= hold.due:
            return "due"
        if hold.state == "open" and at + lasts > hold.due:
            self.reached["reservation extended"] += 1
            hold.due = at + lasts
            self._touch(self.customers[who], at)
        return "ok" if hold.state == "open" else hold.state

    def end(self, who: str, key: str, verb: str, used: int, at: int) -> Ended:  # noqa: PLR0911 - one for each answer
        """A call ends a reservation, or it does not."""
        customer = self.customers[who]
        hold = self._edge_hold(customer, key)
        if hold is None:
            self.reached["end of an unknown reservation"] += 1
            return Ended("unknown")
        if hold.state == "open" and at >= hold.due:
            hold.state, hold.asked = "expired", 0
            self._close(customer, key, ("expired", 0), at)
            if verb == "expired":
                return Ended("ok", 0, hold.reserved)
        elif hold.state == "open" and verb == "expired":
            return Ended("open")
        elif hold.state == "open":
            hold.state, hold.asked = verb, used
            self._close(customer, key, (verb, used), at)
            return Ended("ok", used, max(0, hold.reserved - used))
        elif hold.state == verb and hold.asked == used:
            self.reached["end answered from memory"] += 1
            return Ended("again", used, max(0, hold.reserved - used))
        if (hold.state, verb) != ("expired", "committed"):
            self.reached["second end refused"] += 1
            return Ended(hold.state)
        if hold.late is None:
            hold.late = used
            self.reached["late commit"] += 1
            self._post(customer, key, self._feature_of(customer, key), used, at)
            return Ended("late", used)
        return Ended("late again", used) if hold.late == used else Ended(hold.state)

    def forget_hold(self, who: str, key: str) -> None:
        """The edge's window for a reservation is over; it knows then what the ledger knows."""
        customer = self.customers[who]
        customer.edge_holds.pop(key, None)
        customer.answers.pop(key, None)

    def _edge_hold(self, customer: Customer, key: str) -> EdgeHold | None:
        """What the edge remembers, else what the ledger has of it."""
        known = customer.holds.get(key)
        if key not in customer.edge_holds and known is not None and known.state != "open":
            event = customer.events.get(key)
            if known.state == "released" and event is not None:  # it was charged when it was opened before
                customer.edge_holds[key] = EdgeHold(known.reserved, 0, "committed", event.cost)
            else:
                late = event and event.cost if known.state == "expired" else None
                customer.edge_holds[key] = EdgeHold(known.reserved, 0, known.state, known.used, late)
        return customer.edge_holds.get(key)

    @staticmethod
    def _feature_of(customer: Customer, key: str) -> str:
        return customer.holds[key].feature

    # ---- reservations: the ledger

    def _open(self, customer: Customer, key: str, feature: str, cost: int, at: int) -> None:
        before = customer.known
        self._pass_time(customer, at)
        self.reached["opened again"] += key in customer.holds
        self._set_aside(customer, key, feature, cost, at)
        customer.note(cost, before)

    def _set_aside(self, customer: Customer, key: str, feature: str, cost: int, at: int) -> None:
        self._pay_debt(customer, at)
        draws = customer.take(cost, at)
        debt = cost - sum(amount for _, amount in draws)
        customer.debt += debt
        customer.reserved += cost
        customer.holds[key] = Hold(feature, cost, draws, debt)
        self.reached["reservation that makes debt"] += debt > 0
        self.reached["reservation of two blocks"] += len(draws) > 1

    def _touch(self, customer: Customer, at: int) -> None:
        """An extension changes no credit."""
        before = customer.known
        self._pass_time(customer, at)
        self._pay_debt(customer, at)
        customer.note(0, before)

    def _close(self, customer: Customer, key: str, end: tuple[str, int], at: int) -> None:
        """The end of a reservation: what was used first, of what it drew; what is above that; what goes back."""
        counted, before = self.counted.pop(0), customer.known
        self._pass_time(customer, at)
        self._pay_debt(customer, at)
        self._give_up(customer, key, end, at, counted)
        customer.note(counted, before)

    def _give_up(self, customer: Customer, key: str, end: tuple[str, int], at: int, counted: int) -> None:
        hold, before, (verb, used) = customer.holds[key], customer.known, end
        asked, is_charged = used, key in customer.events
        if is_charged:  # when it was opened before
            self.reached["end of what was charged before"] += 1
            verb, used = "expired" if verb == "expired" else "released", 0
        own, back = _split([*hold.draws], hold.debt, used)
        more = customer.take(max(0, used - hold.reserved), at)
        debt = max(0, used - hold.reserved) - sum(amount for _, amount in more)
        customer.debt += debt
        customer.reserved -= hold.reserved
        hold.state, hold.used = verb, used
        self._give_back(customer, (verb, key), *back, at)
        self._note_end(hold, debt)
        if verb == "committed":
            customer.consumed[hold.feature] += used
            customer.events[key] = Event(hold.feature, used, _joined(own[0], more), own[1] + debt)
        if counted < 0:
            really = before - customer.known
            assert counted == asked - hold.reserved, "an edge gave back another amount"
            assert used - hold.reserved == really, "what an edge gave back at once came back otherwise"
        else:
            self.reached["what comes back waits for the ledger"] += used < hold.reserved

    def _note_end(self, hold: Hold, debt: int) -> None:
        self.reached["commit of less"] += hold.state == "committed" and hold.used < hold.reserved
        self.reached["commit of as much"] += hold.state == "committed" and 0 < hold.used == hold.reserved
        self.reached["commit of more"] += hold.used > hold.reserved
        self.reached["commit of more that makes debt"] += debt > 0


def _split(
    draws: list[tuple[Block, int]], debt: int, used: int
) -> tuple[tuple[list[tuple[Block, int]], int], tuple[list[tuple[Block, int]], int]]:
    """(what is used, what goes back) of draws and debt: blocks are used in the order in which they were drawn."""
    own: list[tuple[Block, int]] = []
    back: list[tuple[Block, int]] = []
    for block, amount in draws:
        taken = min(used, amount)
        used -= taken
        own += [(block, taken)] if taken else []
        back += [(block, amount - taken)] if amount > taken else []
    own_debt = min(used, debt)
    return (own, own_debt), (back, debt - own_debt)


def _joined(own: list[tuple[Block, int]], more: list[tuple[Block, int]]) -> list[tuple[Block, int]]:
    """Draws of one event: a block that was drawn twice stands once, where it was first."""
    joined = [(block, amount + sum(a for b, a in more if b is block)) for block, amount in own]
    return joined + [(block, amount) for block, amount in more if all(block is not b for b, _ in own)]
