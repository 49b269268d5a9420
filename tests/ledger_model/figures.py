"""What the two sides must agree on, of one customer."""

from collections import Counter
from dataclasses import dataclass

from app.rules.moments import NEVER_AT
from tests.ledger_model.customer import NEVER, Customer
from tests.ledger_model.parts import event_id, order_id
from tests.ledger_model.rows import Rows, ref_of

assert NEVER == NEVER_AT


@dataclass(frozen=True)
class Figures:
    """By the names of a program; what is zero is left out of sums."""

    total: int
    debt: int
    blocks: dict[str, int]
    """What remains of each."""
    events: dict[str, tuple[int, list[tuple[str, int]], int]]
    """Cost, draws and debt."""
    holds: dict[str, tuple[str, int, int, list[tuple[str, int]], int]]
    """State, reserved, used, draws and debt of reservations."""
    reserved: tuple[int, int]
    """By all that are open, and how many those are."""
    outcomes: dict[str, tuple[str, int]]
    sums: dict[str, int]
    """Of lines: what was consumed by feature, net of voids, issued by source, expired and voided."""


def of_reference(customer: Customer) -> Figures:
    """As the reference has them."""
    sums = {f"consumed:{feature}": amount for feature, amount in customer.consumed.items()}
    sums |= {f"issued:{source}": -amount for source, amount in customer.issued.items()}
    sums |= {"expired": customer.expired, "voided": customer.voided}
    return Figures(
        customer.total,
        customer.debt,
        {block.name: block.remaining for block in customer.blocks},
        {k: (e.cost, [(b.name, amount) for b, amount in e.draws], e.debt) for k, e in customer.events.items()},
        {
            key: (hold.state, hold.reserved, hold.used, [(b.name, amount) for b, amount in hold.draws], hold.debt)
            for key, hold in customer.holds.items()
        },
        (customer.reserved, sum(hold.state == "open" for hold in customer.holds.values())),
        dict(customer.outcomes),
        {name: amount for name, amount in sums.items() if amount},
    )


def of_rows(rows: Rows, who: str, customer: Customer) -> Figures:
    """As the rows have them; `customer` says what there is to be looked for."""
    account = rows.accounts[ref_of(who)]
    own = {event.id: event for event in rows.events.values() if event.account_id == account.id}
    ids = {event_id(who, key): key for key in [*customer.events, *customer.holds]}
    outcomes = {order_id(name): name for name in customer.outcomes}
    told = {o.order.order_id: o for o in rows.outcomes.values() if o.account_id == account.id}
    return Figures(
        account.total_micro,
        account.debt_micro,
        {rows.names[i]: block.remaining_micro for i, (owner, block) in rows.blocks.items() if owner == account.id},
        {
            ids.get(e.id, str(e.id)): (
                e.cost_micro,
                [(rows.names[block], amount) for block, amount in e.parsed_draws()],
                e.debt_micro,
            )
            for e in own.values()
        },
        {
            ids.get(r.id, str(r.id)): (
                r.state.value,
                r.reserved_micro,
                r.used_micro,
                [(rows.names[block], amount) for block, amount in r.parsed_draws()],
                r.debt_micro,
            )
            for r in rows.reservations.values()
            if r.account_id == account.id
        },
        (account.reserved_micro, account.open_reservations),
        {
            outcomes.get(i, str(i)): ("done", 0) if o.refused is None else (o.refused.code.value, o.amount_micro)
            for i, o in told.items()
        },
        _outside(rows.sums(who)),
    )


def _outside(sums: Counter[str]) -> dict[str, int]:
    inside = ("block:", "debt", "reserved:")
    return {name: amount for name, amount in sums.items() if amount and not name.startswith(inside)}


def check_balance(customer: Customer) -> None:
    """What was issued, and not earned yet, is somewhere: the reference's own books."""
    consumed, issued = sum(customer.consumed.values()), sum(customer.issued.values())
    assert issued == customer.total + customer.reserved + consumed + customer.expired + customer.voided
