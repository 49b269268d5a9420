"""May this user do this? The answer from what the account and its plan snapshot say."""

from enum import StrEnum

import msgspec


class OveragePolicy(StrEnum):
    """What happens where credit runs out: refuse, allow, or allow and tell."""

    BLOCK = "block"
    ALLOW = "allow"
    NOTIFY = "notify"


class FeatureKind(StrEnum):
    """What a feature is: usage that costs credit, a switch, a value of any form, or a number that is held at once."""

    METERED = "metered"
    BOOLEAN = "boolean"
    STATIC = "static"
    GAUGE = "gauge"


class Standing(StrEnum):
    """Whether the customer's subscription is in order; without one it is."""

    OK = "ok"
    SUBSCRIPTION_PAUSED = "subscription_paused"
    SUBSCRIPTION_OVERDUE = "subscription_overdue"


class Reason(StrEnum):
    """Why an answer is no, in order of precedence: the first that applies is given."""

    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_FEATURE = "unknown_feature"
    NO_SUBSCRIPTION = "no_subscription"
    SUBSCRIPTION_PAUSED = "subscription_paused"
    SUBSCRIPTION_OVERDUE = "subscription_overdue"
    FEATURE_NOT_IN_PLAN = "feature_not_in_plan"
    LIMIT_REACHED = "limit_reached"
    INSUFFICIENT_CREDITS = "insufficient_credits"


class Access(msgspec.Struct, frozen=True):
    """What a plan snapshot says of one feature, as far as the decision needs it."""

    has_terms: bool
    """There is a price, or where the feature is not metered a value."""
    is_off: bool
    """It is a switch, and its value is false."""
    included: bool
    subscribed: bool
    standing: Standing


def standing_of(state: str, *, usable_while_paused: bool, allow_usage_while_overdue: bool) -> Standing:
    """The standing that follows from the state of the base subscription, and from what its version says of that."""
    match state:
        case "paused" if not usable_while_paused:
            return Standing.SUBSCRIPTION_PAUSED
        case "overdue" if not allow_usage_while_overdue:
            return Standing.SUBSCRIPTION_OVERDUE
        case _:
            return Standing.OK


def refusal_of_access(access: Access | None) -> Reason | None:
    """Why the feature may not be used at all, before any limit or credit is looked at; None = it may.

    None in = unknown feature.
    """
    if access is None:
        return Reason.UNKNOWN_FEATURE
    if not access.subscribed and not access.has_terms:
        return Reason.NO_SUBSCRIPTION
    if access.standing is not Standing.OK:
        return Reason(access.standing.value)
    is_left_out = not (access.included and access.has_terms)
    return Reason.FEATURE_NOT_IN_PLAN if is_left_out or access.is_off else None


def refusal_of_limit(used_micro: int, units_micro: int, limit_micro: int | None) -> Reason | None:
    """Why so many more units cannot be used in the period, or held of a gauge; None = they can.

    Asking for none is not refused, even where the limit was lowered below what is used.
    """
    if limit_micro is None or not units_micro or used_micro + units_micro <= limit_micro:
        return None
    return Reason.LIMIT_REACHED


def lowest_balance(floor_micro: int, policy: OveragePolicy, overage_limit_micro: int | None) -> int | None:
    """How far down the balance may be spent; None = without end. `floor_micro` is the account's own bound."""
    if policy is OveragePolicy.BLOCK:
        return floor_micro
    return None if overage_limit_micro is None else -overage_limit_micro


def refusal_of_credit(
    available_micro: int,
    cost_micro: int,
    floor_micro: int,
    policy: OveragePolicy,
    overage_limit_micro: int | None = None,
) -> Reason | None:
    """Why this cost cannot be spent now; None = it can. `floor_micro` is how far below zero the account may go.

    What costs nothing is not refused for want of credit.
    """
    lowest_micro = lowest_balance(floor_micro, policy, overage_limit_micro)
    if not cost_micro or lowest_micro is None or available_micro - cost_micro >= lowest_micro:
        return None
    return Reason.INSUFFICIENT_CREDITS
