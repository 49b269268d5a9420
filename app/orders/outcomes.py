"""What became of an order, pure."""

from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec

from app.ledger.book import Origin
from app.wire.codes import Code
from app.wire.orders import Order, VoidGrant, VoidUsage, encode_order


class Refused(msgspec.Struct, frozen=True):
    """An order that changes nothing. `amount_micro` is what stands in its way, where that is an amount."""

    code: Code
    amount_micro: int = 0
    context: dict[str, Any] | None = None
    """More that is in its way, as the problem document shows it."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of an order. `refused` None = carried out, by transaction `seq` where it is one."""

    environment_id: UUID
    account_id: UUID
    order: Order
    refused: Refused | None
    seq: int | None

    @property
    def amount_micro(self) -> int:
        """What stood in its way, where it was refused for an amount."""
        return 0 if self.refused is None else self.refused.amount_micro


def origin_of(order: Order) -> Origin:
    """Who wants it, and why."""
    return Origin(order.actor, order.reason, order.idempotency_key)


def kind_of(order: Order) -> str:
    """The order's name in the ledger, which is its tag in the stream."""
    return str(type(order).__struct_config__.tag)


def digest_of(order: Order) -> bytes:
    """Of everything that is ordered: two orders with the same digest are the same."""
    return sha256(encode_order(order)).digest()


def target_of(order: Order) -> UUID | None:
    """The event or block that an order voids."""
    match order:
        case VoidUsage():
            return order.event_id
        case VoidGrant():
            return order.block_id
        case _:
            return None
