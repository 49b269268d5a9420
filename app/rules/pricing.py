"""What an event costs. A price is a rational: `amount_micro` micro-credits per `per` whole units, or per event."""

from typing import assert_never

import msgspec

from app.rules.credits import MICRO, half_up_division


class FlatPrice(msgspec.Struct, frozen=True, tag="flat", tag_field="kind"):
    """The same for every event, whatever its units."""

    amount_micro: int


class PerUnitPrice(msgspec.Struct, frozen=True, tag="per_unit", tag_field="kind"):
    """`amount_micro` per `per` whole units, in proportion."""

    amount_micro: int
    per: int = 1


Price = FlatPrice | PerUnitPrice


def cost_micro(price: Price, units_micro: int) -> int:
    """Cost of one event in micro-credits, rounded once, half up. No units cost nothing."""
    if not units_micro:
        return 0
    match price:
        case FlatPrice():
            return price.amount_micro
        case PerUnitPrice():
            return half_up_division(units_micro * price.amount_micro, price.per * MICRO)
        case _:
            assert_never(price)
