"""Which terms of a version a subscription does not keep, pure. Nobody is subscribed to what would not be done."""

from collections.abc import Sequence

from app.plans.store import Grant, Variant
from app.rules.terms import PlanKind


def broken_terms(variant: Variant, grants: Sequence[Grant]) -> list[str]:
    """What would not be done, in words for the client; empty = all of it would.

    A subscription grants in its first period what one grant gives in every period.
    """
    told = [
        (variant.plan_kind == PlanKind.ADDON, "an addon goes beside another plan"),
        (variant.trial_days > 0, "it begins with a trial"),
        (len(grants) > 1, "it has more than one grant"),
    ]
    for grant in grants:
        is_of_the_period = (grant.interval_unit, grant.interval_count) == (
            variant.interval_unit,
            variant.interval_count,
        )
        told += [
            (grant.once, "a grant is given once"),
            (not is_of_the_period, "a grant has an interval of its own"),
            (grant.expires_after_unit is not None, "a grant has an expires_after"),
            (grant.rollover_percent is not None, "a grant rolls over"),
            (grant.accumulation_cap_micro is not None, "a grant has an accumulation_cap"),
        ]
    return [words for applies, words in told if applies]
