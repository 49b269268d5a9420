"""Bodies of the subscription routes."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.errors import invalid_value
from app.subscriptions.store import SubscriptionRow
from app.web.fields import EndUserId
from app.wire.ids import MalformedId, parse, show


class NewSubscription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be subscribed to what. The customer is made where there is none."""

    end_user_id: EndUserId
    plan_variant_id: str


class SubscriptionBody(msgspec.Struct, frozen=True):
    """A subscription and its present period, from `period_start` up to and without `period_end`."""

    subscription_id: str
    end_user_id: str
    plan_variant_id: str
    plan_key: str
    variant_key: str
    version: int
    state: str
    period_start: datetime
    period_end: datetime
    created_at: datetime


def parse_variant_id(text: str) -> UUID:
    """The variant that a client named. Raises ServiceError(INVALID_VALUE)."""
    try:
        return parse("var", text)
    except MalformedId as error:
        raise invalid_value("plan_variant_id", str(error)) from error


def show_subscription(row: SubscriptionRow) -> SubscriptionBody:
    """The subscription as the API shows it."""
    return SubscriptionBody(
        subscription_id=show("sub", row.id),
        end_user_id=row.end_user_id,
        plan_variant_id=show("var", row.variant_id),
        plan_key=row.plan_key,
        variant_key=row.variant_key,
        version=row.version,
        state=row.state,
        period_start=row.period_start_at,
        period_end=row.period_end_at,
        created_at=row.created_at,
    )
