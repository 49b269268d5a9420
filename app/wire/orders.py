"""Orders: what core wants taken or given back, carried out by the flusher in its place in the stream.

Core never takes credit by itself, for what an edge has accepted meanwhile would not be in its figures. It leaves an
order in the stream; the account takes no decision until a publish includes it. So an order is decided by the ledger,
alone, after everything that was accepted before it.
"""

from uuid import UUID

import msgspec

from app.rules.credits import MAX_COST_MICRO
from app.rules.lifecycle import Action
from app.rules.moments import NEVER_AT
from app.rules.subscriptions import Contract


class OrderBase(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What every order says: its id, which has one effect for ever, and who wants it, why, and under which key."""

    order_id: UUID
    actor: str
    reason: str | None = None
    idempotency_key: str | None = None


class VoidUsage(OrderBase, frozen=True, tag="void_usage", kw_only=True):
    """A usage event is to be as if it had not happened: its credit goes back to where it came from."""

    event_id: UUID


class VoidGrant(OrderBase, frozen=True, tag="void_grant", kw_only=True):
    """A grant is to be taken back. `allow_debt`: what of it is spent becomes debt, else the order is refused."""

    block_id: UUID
    allow_debt: bool


class Debit(OrderBase, frozen=True, tag="debit", kw_only=True):
    """Credit is to be taken. `allow_debt`: what is not covered becomes debt, else the order is refused."""

    amount_micro: int
    allow_debt: bool


class BillOverage(OrderBase, frozen=True, tag="bill_overage", kw_only=True):
    """What the customer owes is paid outside: it is closed, and no later credit pays it again."""


class Subscribe(OrderBase, frozen=True, tag="subscribe", kw_only=True):
    """A customer is to be subscribed to a variant, at its newest version by then."""

    subscription_id: UUID
    variant_id: UUID
    starts_at: int | None = None
    """None = at once."""
    with_trial: bool = True
    """Where the terms have one, and the customer has not had it."""
    contract: Contract | None = None
    payment_reference: str | None = None
    """Of the first period's payment: a payment does one thing."""


class Act(OrderBase, frozen=True, tag="act", kw_only=True):
    """Something is to be done with a subscription."""

    subscription_id: UUID
    action: Action
    variant_id: UUID | None = None
    """Of a change, at once or scheduled: to the newest version of this variant."""
    only_upwards: bool = False
    """A change takes place at once only where it gives as much or more, else when the period ends."""
    period_index: int | None = None
    """Of a renewal: which period is to be followed by the next one."""
    payment_reference: str | None = None
    """Of a renewal or a change: a payment does one thing."""
    unless_leaving: bool = False
    """A change takes place only where the subscription is on the variant by then, and is going to stay on it."""


Correction = VoidUsage | VoidGrant | Debit | BillOverage
SubscriptionOrder = Subscribe | Act
Order = Correction | SubscriptionOrder

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(Order)


def encode_order(order: Order) -> bytes:
    """The order as it goes into the stream."""
    return _encoder.encode(order)


def decode_order(content: bytes) -> Order:
    """The order behind what stands in the stream. Raises msgspec.MsgspecError, or ValueError for what fits no table."""
    order = _decoder.decode(content)
    payment_reference = order.payment_reference if isinstance(order, SubscriptionOrder) else None
    if "\0" in f"{order.actor}{order.reason}{order.idempotency_key}{payment_reference}":
        raise ValueError("a text holds a zero byte")
    if isinstance(order, Debit) and not 0 < order.amount_micro <= MAX_COST_MICRO:
        raise ValueError("the amount is out of bounds")
    if isinstance(order, Subscribe) and order.starts_at is not None and not 0 <= order.starts_at < NEVER_AT:
        raise ValueError("the start is out of bounds")
    return order
