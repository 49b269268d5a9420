"""What a payment does, it does once: what its reference has done, and what is answered when it comes again."""

from typing import Any
from uuid import UUID

import msgspec

from app.orders.outcomes import Refused
from app.rules.lifecycle import Action
from app.rules.subscriptions import Subscription
from app.wire.codes import Code
from app.wire.ids import show
from app.wire.orders import Act, Subscribe, SubscriptionOrder

CREATE = "create"
"""What the history calls it that a subscription was asked for."""


class Paid(msgspec.Struct, frozen=True):
    """What a payment has done: it made a subscription, renewed it, or changed it."""

    subscription_id: UUID
    action: str
    """As the subscription's history has it."""
    variant_id: UUID | None
    """Which variant was asked for; None = none was, or nobody wrote that down."""
    came: bool = False
    """The subscription has been on it since, where it was not at once."""

    def is_what(self, order: SubscriptionOrder) -> bool:
        """Whether the order asks for just that; a change that did not say when asks for it at any time."""
        is_same = self.subscription_id == order.subscription_id and self.variant_id in {None, order.variant_id}
        return is_same and self.action in _actions_of(order)

    def is_undone(self, present: Subscription | None) -> bool:
        """Whether it was for a change at the period's end that was taken back or replaced since."""
        if self.action != Action.SCHEDULE_CHANGE or self.came or present is None:
            return False
        terms = (present.terms, present.pending)
        return all(each is None or each.name.variant_id != self.variant_id for each in terms)


def refuse_used(paid: Paid, reference: str, *, is_undone: bool) -> Refused:
    """The payment has done something else, or what was undone since."""
    used_for = {**naming(paid.subscription_id), "action": paid.action, "is_undone": is_undone}
    return Refused(Code.PAYMENT_REFERENCE_USED, context={"payment_reference": reference, "used_for": used_for})


def refuse_unneeded(order: SubscriptionOrder, present: Subscription | None) -> Refused:
    """What is paid for is so already: it must not look like a payment that does something."""
    context: dict[str, Any] = {**naming(order.subscription_id), "why": "already_scheduled"}
    if isinstance(order, Act) and order.action is Action.RENEW and present is not None:
        is_over = order.period_index is not None and order.period_index < present.period_index
        why = "already_followed" if is_over else "already_renewed"
        context |= {"why": why, "period_index": present.period_index}
    return Refused(Code.ACTION_REFUSED, context=context)


def naming(subscription_id: UUID) -> dict[str, Any]:
    """Of which subscription a refusal speaks."""
    return {"subscription_id": show("sub", subscription_id)}


def _actions_of(order: SubscriptionOrder) -> set[str]:
    """What the history may call what is ordered."""
    if isinstance(order, Subscribe):
        return {CREATE}
    return {Action.CHANGE, Action.SCHEDULE_CHANGE} if order.only_upwards else {order.action}
