"""Customers, what they are subscribed to, what they paid for, and the places that they hold."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal

from quotastack import calls
from quotastack._async.checks import Checks
from quotastack._async.waiting import together
from quotastack.answers import CustomerState
from quotastack.events import Number, new_key, show_time
from quotastack.models import (
    Acquired,
    ChangePreview,
    Credits,
    Customer,
    Released,
    Subscription,
    SubscriptionPage,
    Topup,
)

When = Literal["now", "period_end"]
_SUBSCRIPTION = "/v1/subscriptions/{}"
_PAGE = 1000


class Customers(Checks):
    """The verbs."""

    # ---- gauges

    async def acquire_gauge(
        self, end_user_id: str, *, feature_key: str, holder: str, units: int = 1, ttl_seconds: int | None = None
    ) -> Acquired:
        """Have the holder (a seat's user, a run's id) hold so many units. Raises LimitReachedError."""
        path = calls.path("/v1/features/{}/acquire", feature_key)
        call = calls.post(
            path, None, is_hot=True, end_user_id=end_user_id, holder=holder, units=units, ttl_seconds=ttl_seconds
        )
        return await self._ask(call, Acquired)

    async def release_gauge(self, end_user_id: str, *, feature_key: str, holder: str) -> Released:
        """Give back all that the holder holds."""
        path = calls.path("/v1/features/{}/release", feature_key)
        return await self._ask(calls.post(path, None, is_hot=True, end_user_id=end_user_id, holder=holder), Released)

    # ---- customers

    async def create_customer(self, end_user_id: str, *, idempotency_key: str | None = None) -> Customer:
        """Make a customer. Subscribing and topping up do that by themselves."""
        call = calls.post("/v1/customers", idempotency_key or new_key(), end_user_id=end_user_id)
        return await self._ask(call, Customer)

    async def customer(self, end_user_id: str) -> Customer:
        """The customer's profile."""
        return await self._ask(calls.get(calls.path("/v1/customers/{}", end_user_id)), Customer)

    async def credits(self, end_user_id: str) -> Credits:
        """What the customer has, block by block."""
        return await self._ask(calls.get(calls.path("/v1/customers/{}/credits", end_user_id)), Credits)

    async def customer_state(self, end_user_id: str) -> CustomerState:
        """Profile, credits, entitlements and subscriptions, asked for at once."""
        verbs = (self.customer, self.credits, self.list_entitlements, self.subscriptions)
        customer, credits_, entitlements, subscriptions = await together(
            *[partial(verb, end_user_id) for verb in verbs]
        )
        return CustomerState(
            customer=customer, credits=credits_, entitlements=entitlements, subscriptions=subscriptions
        )

    async def top_up(
        self,
        end_user_id: str,
        *,
        payment_reference: str,
        package_key: str | None = None,
        credits: Number | None = None,  # noqa: A002 - the API's own word
        price_paid: int | None = None,
        currency: str | None = None,
        idempotency_key: str | None = None,
    ) -> Topup:
        """Grant what a payment bought: a package, or `credits`. A payment reference grants once, for ever."""
        call = calls.post(
            "/v1/topups",
            idempotency_key or new_key(),
            end_user_id=end_user_id,
            payment_reference=payment_reference,
            package_key=package_key,
            credits=credits,
            price_paid=price_paid,
            currency=currency,
        )
        return await self._ask(call, Topup)

    # ---- subscriptions

    async def subscribe(
        self,
        end_user_id: str,
        plan_variant_id: str,
        *,
        starts_at: datetime | str | None = None,
        trial: bool | None = None,
        contract: Mapping[str, Any] | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Subscription:
        """Subscribe a customer to a plan's variant; the customer is made where there is none."""
        call = calls.post(
            "/v1/subscriptions",
            idempotency_key or new_key(),
            end_user_id=end_user_id,
            plan_variant_id=plan_variant_id,
            starts_at=None if starts_at is None else show_time(starts_at),
            trial=trial,
            contract=contract,
            reason=reason,
        )
        return await self._ask(call, Subscription)

    async def subscription(self, subscription_id: str) -> Subscription:
        """How it stands."""
        return await self._ask(calls.get(calls.path(_SUBSCRIPTION, subscription_id)), Subscription)

    async def subscriptions(self, end_user_id: str) -> list[Subscription]:
        """All subscriptions of the customer, those that ended too."""
        found: list[Subscription] = []
        cursor = None
        while True:
            call = calls.get("/v1/subscriptions", end_user_id=end_user_id, limit=_PAGE, cursor=cursor)
            page = await self._ask(call, SubscriptionPage)
            found += page.data
            if (cursor := page.next_cursor) is None:
                return found

    async def change_subscription(
        self,
        subscription_id: str,
        plan_variant_id: str,
        *,
        at: When | None = None,
        payment_reference: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Subscription:
        """Move it to another variant. Without `at`, more credit comes at once and less when the period ends."""
        call = calls.post(
            calls.path(f"{_SUBSCRIPTION}/change", subscription_id),
            idempotency_key or new_key(),
            plan_variant_id=plan_variant_id,
            at=at,
            payment_reference=payment_reference,
            reason=reason,
        )
        return await self._ask(call, Subscription)

    async def preview_change(
        self, subscription_id: str, plan_variant_id: str, *, at: When | None = None
    ) -> ChangePreview:
        """What a change would do now. It changes nothing."""
        path = calls.path(f"{_SUBSCRIPTION}/change/preview", subscription_id)
        return await self._ask(calls.post(path, new_key(), plan_variant_id=plan_variant_id, at=at), ChangePreview)

    async def pause_subscription(
        self, subscription_id: str, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Subscription:
        """Have it stand still."""
        return await self._act("pause", subscription_id, idempotency_key, reason=reason)

    async def resume_subscription(
        self, subscription_id: str, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Subscription:
        """Have it go on."""
        return await self._act("resume", subscription_id, idempotency_key, reason=reason)

    async def cancel_subscription(
        self,
        subscription_id: str,
        *,
        at: When | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Subscription:
        """End it, when its period ends unless `at` says now."""
        return await self._act("cancel", subscription_id, idempotency_key, at=at, reason=reason)

    async def renew_subscription(
        self,
        subscription_id: str,
        *,
        payment_reference: str | None = None,
        period_index: int | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Subscription:
        """The next period is paid for."""
        return await self._act(
            "renew",
            subscription_id,
            idempotency_key,
            payment_reference=payment_reference,
            period_index=period_index,
            reason=reason,
        )

    async def _act(self, action: str, subscription_id: str, key: str | None, **members: Any) -> Subscription:
        path = calls.path(f"{_SUBSCRIPTION}/{action}", subscription_id)
        return await self._ask(calls.post(path, key or new_key(), **members), Subscription)
