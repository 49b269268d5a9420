"""What the terms of a version may be."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from app.errors import invalid_value
from app.metering import service as metering
from app.metering.schemas import NewPrice, parse_price, parse_value
from app.metering.tables import Feature
from app.plans.schemas import FeatureInclusion, GrantTerms, VersionTerms
from app.rules.entitlement import FeatureKind, OveragePolicy
from app.rules.periods import IntervalUnit
from app.rules.terms import BillingMode, Interval, PlanKind, most_at_once
from app.web.amounts import Credits

MAX_YEARS = 100
"""Of an interval: what expires then still fits the range of moments."""
MAX_BLOCKS = 500
"""That a version's grants may leave with a customer at once: half of what an account can hold."""


class NotFree(msgspec.Struct, frozen=True):
    """The term that keeps a version from being the free plan, and why."""

    term: str
    message: str


def why_not_free(kind: PlanKind, billing_mode: BillingMode, trial_days: int) -> NotFree | None:
    """What keeps a version with these terms from being the free plan of an environment; None where nothing does."""
    if kind is not PlanKind.BASE:
        return NotFree("kind", "must be base: an add-on is nothing to fall back to")
    if billing_mode is not BillingMode.POSTPAID:
        return NotFree("billing_mode", "must be postpaid: nobody pays for its next period")
    if trial_days:
        return NotFree("trial_days", "must be 0: there is nothing to try before it")
    return None


def check_terms(terms: VersionTerms) -> None:
    """Whether a version can have these terms, as far as they say themselves. Raises ServiceError(INVALID_VALUE)."""
    _check_interval("", terms.interval, terms.interval_count)
    for index, grant in enumerate(terms.grants):
        _check_grant(f"grants[{index}].", grant)
    _check_keys(keys_of(terms.grants))
    blocks = sum(_most_blocks(grant) for grant in terms.grants)
    if blocks > MAX_BLOCKS:
        message = f"would leave a customer with {blocks} blocks of credit at once, and may leave {MAX_BLOCKS}"
        raise invalid_value("grants", f"{message}: grant less often, or let them expire earlier")
    _check_features(terms)


def keys_of(grants: Sequence[GrantTerms]) -> list[str]:
    """What each of a version's grants is called: by its key, or by its place."""
    return [grant.key or str(place) for place, grant in enumerate(grants, 1)]


def cycle_of(grant: GrantTerms) -> Interval | None:
    """How often the credit is given; None = once. Of a grant that `check_terms` lets be."""
    return None if grant.interval is None else Interval(grant.interval, grant.interval_count or 1)


def _check_interval(prefix: str, unit: IntervalUnit, count: int) -> None:
    if unit is IntervalUnit.YEAR and count > MAX_YEARS:
        raise invalid_value(f"{prefix}interval_count", f"may be at most {MAX_YEARS} years")


def _check_keys(keys: list[str]) -> None:
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise invalid_value(
                f"grants[{index}].key", f"is {key!r}, as of one before it; without a key it is the place"
            )


def _check_grant(prefix: str, grant: GrantTerms) -> None:
    _check_cycle(prefix, grant)
    if grant.expires_after is not None:
        _check_interval(f"{prefix}expires_after.", grant.expires_after.interval, grant.expires_after.interval_count)
    if grant.accumulation_cap is not None and grant.accumulation_cap.micro < grant.amount.micro:
        raise invalid_value(f"{prefix}accumulation_cap", "must not be below the amount, which could never be granted")
    if grant.rollover is not None:
        _check_rollover(prefix, grant)


def _check_cycle(prefix: str, grant: GrantTerms) -> None:
    cycle = cycle_of(grant)
    if not grant.once:
        if cycle is None:
            raise invalid_value(f"{prefix}interval", "must be there, or once: true for credit that is given once")
        _check_interval(prefix, cycle.unit, cycle.count)
        return
    for name in ("interval", "interval_count"):
        if getattr(grant, name) is not None:
            message = "must be left out: what is granted once has no cycle; expires_after says how long it lives"
            raise invalid_value(f"{prefix}{name}", message)


def _check_rollover(prefix: str, grant: GrantTerms) -> None:
    if grant.once:
        raise invalid_value(f"{prefix}rollover", "needs a next cycle, which what is granted once does not have")
    if grant.expires_after is not None:
        raise invalid_value(f"{prefix}rollover", "is for credit that expires with its cycle: leave out expires_after")


def _most_blocks(grant: GrantTerms) -> int:
    """How many blocks a grant may leave with a customer at once."""
    cycle = cycle_of(grant)
    if cycle is None:
        return 1
    if grant.expires_after is None:
        return 1 if grant.rollover is None else 2
    return most_at_once(cycle, Interval(grant.expires_after.interval, grant.expires_after.interval_count))


def own_prices(inclusion: FeatureInclusion, field: str, now: datetime) -> list[NewPrice]:
    """The prices that a variant sets for a feature. Raises ServiceError(INVALID_VALUE)."""
    if inclusion.price is not None:
        if inclusion.prices:
            raise invalid_value(f"{field}.prices", "stands beside price: send one of them")
        price = parse_price(inclusion.price, f"{field}.price")
        metering.check_first_price(price, f"{field}.price.")
        return [price]
    prices = [parse_price(price, f"{field}.prices[{index}]") for index, price in enumerate(inclusion.prices)]
    if prices and not any(not price.match and price.effective_at is None for price in prices):
        raise invalid_value(f"{field}.prices", "must have one without match and effective_at, for all other usage")
    for index, price in enumerate(prices):
        metering.check_beginning(price, f"{field}.prices[{index}].", now)
        if any((price.match, price.effective_at) == (other.match, other.effective_at) for other in prices[:index]):
            raise invalid_value(f"{field}.prices[{index}]", "has the match and the effective_at of one before it")
    return prices


def own_value(feature: Feature, inclusion: FeatureInclusion, field: str) -> str | None:
    """The version's own value of the feature; None = the feature's default.

    Raises ServiceError: INVALID_VALUE, FEATURE_NOT_METERED for prices and limits, which others do not have.
    """
    kind = FeatureKind(feature.kind)
    for name in ("price", "prices", "limit", "overage_limit"):
        if getattr(inclusion, name):
            metering.require_metered(kind, feature.key, f"{field}.{name}")
    return None if inclusion.value is msgspec.UNSET else parse_value(kind, inclusion.value, f"{field}.value")


def _check_features(terms: VersionTerms) -> None:
    _check_overage("overage_limit", terms.overage_limit, terms.overage_policy)
    seen: set[str] = set()
    for index, inclusion in enumerate(terms.features):
        if inclusion.feature_key in seen:
            raise invalid_value(f"features[{index}].feature_key", f"names {inclusion.feature_key!r} once more")
        seen.add(inclusion.feature_key)
        field = f"features[{index}].overage_limit"
        _check_overage(field, inclusion.overage_limit, inclusion.overage_policy or terms.overage_policy)


def _check_overage(field: str, limit: Credits | None, policy: OveragePolicy) -> None:
    if limit is not None and policy is OveragePolicy.BLOCK:
        raise invalid_value(field, "needs the overage_policy allow or notify beside it")
