"""What a confirmed payment does: a pack tops up, a plan is subscribed or changed to. Told twice, it is done once."""

from docs.demo.catalogue import OFFERS, Pack
from docs.demo.provider import Payment
from quotastack import AsyncQuotaStack, ConflictError
from quotastack.models import Subscription, Topup


class Till:
    """Turns confirmed payments into credit."""

    def __init__(self, metering: AsyncQuotaStack, variants: dict[str, str]) -> None:
        self._metering = metering
        self._variants = variants

    async def on_payment(self, payment: Payment) -> Topup | Subscription:
        """What your provider's webhook calls. The reference of the payment is the key of all that it does."""
        offer = OFFERS[payment.item]
        if isinstance(offer, Pack):
            return await self._metering.top_up(
                payment.customer, package_key=offer.key, payment_reference=payment.reference
            )
        return await self._subscribe(payment.customer, self._variants[offer.key], payment.reference)

    async def _subscribe(self, user: str, variant_id: str, reference: str) -> Subscription:
        """To the plan; the free one makes way by itself, any other is changed. A repeat takes the same way again."""
        try:
            return await self._metering.subscribe(user, variant_id, idempotency_key=reference)
        except ConflictError as error:
            if error.code != "subscription_exists":
                raise
            present = error.context["subscription_id"]
        return await self._metering.change_subscription(present, variant_id, payment_reference=reference)
