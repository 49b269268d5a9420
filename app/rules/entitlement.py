"""May this user do this? The answer from what the account and its plan snapshot say."""

from enum import StrEnum

import msgspec


class OveragePolicy(StrEnum):
    """What happens where credit runs out: refuse, allow, or allow and tell."""

    BLOCK = "block"
    ALLOW = "allow"
    NOTIFY = "notify"


class Reason(StrEnum):
    """Why an answer is no, in order of precedence: the first that applies is given."""

    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_FEATURE = "unknown_feature"
    NO_SUBSCRIPTION = "no_subscription"
    FEATURE_NOT_IN_PLAN = "feature_not_in_plan"
    INSUFFICIENT_CREDITS = "insufficient_credits"


class Access(msgspec.Struct, frozen=True):
    """What a plan snapshot says of one feature, as far as the decision needs it."""

    has_price: bool
    included: bool
    subscribed: bool
    overage_policy: OveragePolicy


def refusal_of_access(access: Access | None) -> Reason | None:
    """Why the feature may not be used at all, before any credit is looked at; None = it may.

    None in = unknown feature.
    """
    if access is None:
        return Reason.UNKNOWN_FEATURE
    if not access.has_price:
        return Reason.FEATURE_NOT_IN_PLAN if access.subscribed else Reason.NO_SUBSCRIPTION
    if access.subscribed and not access.included:
        return Reason.FEATURE_NOT_IN_PLAN
    return None


def refusal_of_credit(available_micro: int, cost_micro: int, floor_micro: int, policy: OveragePolicy) -> Reason | None:
    """Why this cost cannot be spent now; None = it can. `floor_micro` is how far below zero the account may go.

    What costs nothing is not refused for want of credit.
    """
    if not cost_micro or policy is not OveragePolicy.BLOCK or available_micro - cost_micro >= floor_micro:
        return None
    return Reason.INSUFFICIENT_CREDITS
