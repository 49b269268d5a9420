"""Bodies of the subscription routes, and of what webhooks say of subscriptions."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.errors import invalid_value
from app.rules.agenda import next_at
from app.rules.contracts import ends_at, periods_left
from app.rules.effects import Granted
from app.rules.grant_cycles import ahead_micro
from app.rules.lifecycle import Action, State
from app.rules.moments import NEVER_AT, to_datetime
from app.rules.subscriptions import Subscription
from app.rules.terms import BillingMode, PlanKind, VersionName
from app.subscriptions.book import Kept, UsedSoFar
from app.subscriptions.history import Change
from app.web.amounts import Credits, Units
from app.web.fields import EndUserId, Moment, Reason, Reference
from app.wire.ids import MalformedId, parse, show

MAX_PERIODS = 1_200
"""Of a contract."""
MAX_PERIOD_INDEX = 2**31 - 1
"""More than days there are."""


class When(StrEnum):
    """When a change or a cancellation is to take place."""

    NOW = "now"
    PERIOD_END = "period_end"


class ContractTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fixed term of so many periods, a trial not among them; then the subscription ends, or the term begins anew."""

    periods: Annotated[int, Meta(ge=1, le=MAX_PERIODS)]
    auto_renew: bool = False


class NewSubscription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be subscribed to what. The customer is made where there is none.

    It starts at once, or `starts_at`; with the trial of the plan where there is one that the customer has not had,
    unless `trial` is false.
    A payment reference subscribes once, for ever.
    """

    end_user_id: EndUserId
    plan_variant_id: str
    starts_at: Moment | None = None
    trial: bool = True
    contract: ContractTerms | None = None
    payment_reference: Reference | None = None
    reason: Reason | None = None


class Renewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The next period is paid for. A payment reference renews once, for ever.

    `period_index` names the period that the paid one follows; one that was renewed is not renewed again.
    """

    payment_reference: Reference | None = None
    period_index: Annotated[int, Meta(ge=0, le=MAX_PERIOD_INDEX)] | None = None
    reason: Reason | None = None


class ChangeTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To the newest version of which variant, and when.

    Left out: what gives as much credit or more at once, the rest when the period ends. A payment reference changes
    once, for ever.
    """

    plan_variant_id: str
    at: When | None = None
    payment_reference: Reference | None = None
    reason: Reason | None = None


class Cancellation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the subscription is to end."""

    at: When = When.PERIOD_END
    reason: Reason | None = None


class Motive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why, for whoever asks later."""

    reason: Reason | None = None


class ScheduledBody(msgspec.Struct, frozen=True):
    """What is to happen when the period ends. The variant and its version are those of a change."""

    action: Literal["change", "cancel"]
    at: datetime
    plan_variant_id: str | None = None
    plan_key: str | None = None
    variant_key: str | None = None
    version: int | None = None


class ContractBody(msgspec.Struct, frozen=True):
    """A fixed term, and how far it has come: `periods_left` come after the present period.

    `ends_at` is when it ends the subscription, as long as each period begins where the one before it ended; null where
    that cannot be known: the term begins anew, the subscription is paused or overdue or has ended, or its periods are
    going to have another length.
    """

    periods: int
    auto_renew: bool
    periods_left: int
    ends_at: datetime | None


class SubscriptionBody(msgspec.Struct, frozen=True):
    """A subscription and its present period, from `period_start` up to and without `period_end`.

    A pause lengthens it; until the subscription has started it is empty, where it starts. `period_index` counts its
    periods from 0, a trial included. `renewed` says that the next one is paid for. `set_aside` is credit that waits
    while it is paused. `overdue_until` is when its grace ends, `next_at` when something happens to it by itself.
    """

    subscription_id: str
    end_user_id: str
    plan_variant_id: str
    plan_key: str
    variant_key: str
    version: int
    plan_kind: PlanKind
    billing_mode: BillingMode
    state: State
    period_start: datetime
    period_end: datetime
    period_index: int
    renewed: bool
    scheduled: ScheduledBody | None
    contract: ContractBody | None
    paused_at: datetime | None
    overdue_until: datetime | None
    set_aside: Credits
    next_at: datetime | None
    created_at: datetime


class UsedBody(msgspec.Struct, frozen=True):
    """What was used of a feature in a period, what it cost, and in how many events."""

    feature_key: str
    units: Units
    credits: Credits
    events: int


class ClosedPeriod(msgspec.Struct):
    """A period that is over: what had been recorded of it by then, and the overage that is billed with it."""

    period_start: datetime
    period_end: datetime
    overage_billed: Credits
    usage: list[UsedBody] = []


class SubscriptionTold(SubscriptionBody, frozen=True, kw_only=True):
    """What a webhook says of a subscription: how it stands, and the period that was closed, where one was."""

    closed_period: ClosedPeriod | UnsetType = UNSET


class GrantPreview(msgspec.Struct, frozen=True):
    """Credit that would be granted at once."""

    amount: Credits
    priority: int
    expires_at: datetime | None


class ChangePreview(msgspec.Struct, frozen=True):
    """What a change would do if it were asked for now: the subscription afterwards, and the credit that comes with it.

    `credits_ahead` is credit that was given for time in which the new terms give less; as much is left out of the
    grants to come.
    """

    action: Action
    effective_at: datetime
    credits_granted: Credits
    grants: list[GrantPreview]
    credits_ahead: Credits
    subscription: SubscriptionBody


class VersionBody(msgspec.Struct, frozen=True):
    """A version of a variant of a plan."""

    plan_variant_id: str
    plan_key: str
    variant_key: str
    version: int


class ChangeBody(msgspec.Struct, frozen=True):
    """One change of a subscription. Versions are shown where they differ; `reason` is the client's."""

    number: int
    at: datetime
    action: str
    state_before: State | None
    state_after: State
    version_before: VersionBody | None
    version_after: VersionBody | None
    actor: str
    reason: str | None
    payment_reference: str | None
    idempotency_key: str | None


def parse_variant_id(text: str) -> UUID:
    """The variant that a client named. Raises ServiceError(INVALID_VALUE)."""
    try:
        return parse("var", text)
    except MalformedId as error:
        raise invalid_value("plan_variant_id", str(error)) from error


def show_subscription(end_user_id: str, kept: Kept) -> SubscriptionBody:
    """The subscription as the API shows it."""
    return SubscriptionBody(**_shown(end_user_id, kept))


def show_told(end_user_id: str, kept: Kept, closed: ClosedPeriod | None) -> SubscriptionTold:
    """The subscription as a webhook shows it."""
    return SubscriptionTold(**_shown(end_user_id, kept), closed_period=UNSET if closed is None else closed)


def _shown(end_user_id: str, kept: Kept) -> dict[str, Any]:
    rules = kept.rules
    name = rules.terms.name
    return {
        "subscription_id": show("sub", kept.id),
        "end_user_id": end_user_id,
        "plan_variant_id": show("var", name.variant_id),
        "plan_key": name.plan_key,
        "variant_key": name.variant_key,
        "version": name.version,
        "plan_kind": name.plan_kind,
        "billing_mode": rules.terms.billing_mode,
        "state": rules.state,
        "period_start": to_datetime(kept.begun_at),
        "period_end": to_datetime(rules.period.end_at),
        "period_index": rules.period_index,
        "renewed": rules.is_renewed,
        "scheduled": _show_scheduled(rules),
        "contract": _show_contract(rules),
        "paused_at": None if rules.paused_at is None else to_datetime(rules.paused_at),
        "overdue_until": _moment(next_at(rules)) if rules.state is State.OVERDUE else None,
        "set_aside": Credits(sum(block.remaining_micro for block in kept.set_aside)),
        "next_at": _moment(next_at(rules)),
        "created_at": to_datetime(kept.created_at),
    }


def _show_contract(rules: Subscription) -> ContractBody | None:
    contract = rules.contract
    if contract is None:
        return None
    left, end = periods_left(rules, contract), _moment(ends_at(rules, contract))
    return ContractBody(contract.periods, contract.renews, left, end)


def _show_scheduled(rules: Subscription) -> ScheduledBody | None:
    at = to_datetime(rules.scheduled_at)
    if rules.cancel_at_period_end:
        return ScheduledBody("cancel", at)
    if rules.pending is None:
        return None
    name = rules.pending.name
    return ScheduledBody("change", at, show("var", name.variant_id), name.plan_key, name.variant_key, name.version)


def _moment(at: int) -> datetime | None:
    return None if at == NEVER_AT else to_datetime(at)


def show_preview(end_user_id: str, grants: list[Granted], kept: Kept, at: int) -> ChangePreview:
    """What a change would do: `kept` is how the subscription would stand."""
    rules, is_put_off = kept.rules, kept.rules.pending is not None
    return ChangePreview(
        action=Action.SCHEDULE_CHANGE if is_put_off else Action.CHANGE,
        effective_at=to_datetime(rules.scheduled_at if is_put_off else at),
        credits_granted=Credits(sum(grant.amount_micro for grant in grants)),
        grants=[
            GrantPreview(Credits(grant.amount_micro), grant.template.priority, _moment(grant.expires_at))
            for grant in grants
        ],
        credits_ahead=Credits(ahead_micro(rules, at)),
        subscription=show_subscription(end_user_id, kept),
    )


def show_used(used: UsedSoFar) -> UsedBody:
    """What was used of a feature."""
    return UsedBody(used.feature_key, Units(used.units_micro), Credits(used.cost_micro), used.events)


def show_change(change: Change, names: Mapping[UUID, VersionName]) -> ChangeBody:
    """The change as the API shows it; `names` are those of the versions that `versions_of` says."""
    before, after = versions_of(change)
    return ChangeBody(
        number=change.number,
        at=change.at,
        action=change.action,
        state_before=None if change.state_before is None else State(change.state_before),
        state_after=State(change.state_after),
        version_before=None if before is None else _show_version(names[before]),
        version_after=None if after is None else _show_version(names[after]),
        actor=change.actor,
        reason=change.reason,
        payment_reference=change.payment_reference,
        idempotency_key=change.idempotency_key,
    )


def versions_of(change: Change) -> tuple[UUID | None, UUID | None]:
    """From which version to which the subscription went; None where it stayed, and before there was one."""
    is_same = change.version_before == change.version_after
    return (None, None) if is_same else (change.version_before, change.version_after)


def _show_version(name: VersionName) -> VersionBody:
    return VersionBody(show("var", name.variant_id), name.plan_key, name.variant_key, name.version)
