"""What becomes of a feature's terms where a customer has something of their own, pure."""

import msgspec

from app.rules.entitlement import OveragePolicy
from app.rules.moments import NEVER_AT
from app.wire.snapshot import FeatureTerms


class Override(msgspec.Struct, frozen=True):
    """What a customer has of a feature in place of what the plan says; None = as the plan says."""

    feature_key: str
    included: bool | None = None
    value: str | None = None
    sets_limit: bool = False
    limit_units_micro: int | None = None
    """Where `sets_limit`; None = no limit."""
    overage_policy: OveragePolicy | None = None
    overage_limit_micro: int | None = None
    """Goes with the policy; None = no limit."""


Overrides = tuple[Override, ...]
"""Of one customer, by the features' keys: equal ones make equal snapshots."""


class OwnTerms(msgspec.Struct, frozen=True):
    """What a customer has of their own at a moment, and when the first of it is over."""

    overrides: Overrides = ()
    until_at: int = NEVER_AT


NOTHING_OWN = OwnTerms()


def override_terms(terms: FeatureTerms, override: Override, *, subscribed: bool) -> FeatureTerms:
    """The terms with what the customer has of their own."""
    value = terms.value if override.value is None else override.value
    included = override.included
    if included is None:
        included = terms.included or (not subscribed and value is not None)
    changed = msgspec.structs.replace(terms, value=value, included=included)
    if override.sets_limit:
        changed = msgspec.structs.replace(changed, limit_units_micro=override.limit_units_micro)
    if override.overage_policy is not None:
        changed = msgspec.structs.replace(
            changed, overage_policy=override.overage_policy, overage_limit_micro=override.overage_limit_micro
        )
    return changed


def override_features(
    features: dict[str, FeatureTerms], overrides: Overrides, *, subscribed: bool
) -> dict[str, FeatureTerms]:
    """All features, of which some are overridden; `features` itself stays as it is, since others share it."""
    return features | {
        override.feature_key: override_terms(features[override.feature_key], override, subscribed=subscribed)
        for override in overrides
    }
