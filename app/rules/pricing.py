"""What an event costs, and which price it is charged at.

A price is a rational: so many micro-credits (`amount_micro`) per so many whole units (`per`), per started package of
them, or per event. Every cost is rounded once, half up. A feature's prices stand in rates: one for everybody, and
others for usage whose properties match. Each rate has versions, of which the newest that has begun is in force.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import gcd
from typing import assert_never
from uuid import UUID

import msgspec

from app.rules.credits import MAX_UNITS_MICRO, MICRO, half_up_division
from app.rules.moments import NEVER_AT

MAX_PER = 10**9
MAX_TIERS = 50
MAX_BOUND = 10**12
"""The highest `up_to` of a tier."""
MAX_MATCHED = 8
"""Properties that a price may ask for."""
MAX_NAME = 64
MAX_VALUE = 256
MAX_DOUBLE = 2**53
"""Redis works graduated costs out with doubles, which count exactly below this."""


class FlatPrice(msgspec.Struct, frozen=True, tag="flat", tag_field="kind"):
    """The same for every event, whatever its units."""

    amount_micro: int


class PerUnitPrice(msgspec.Struct, frozen=True, tag="per_unit", tag_field="kind"):
    """`amount_micro` per `per` whole units, in proportion."""

    amount_micro: int
    per: int = 1


class PackagePrice(msgspec.Struct, frozen=True, tag="package", tag_field="kind"):
    """`amount_micro` for every started package of `per` whole units."""

    amount_micro: int
    per: int


class Tier(msgspec.Struct, frozen=True):
    """What units cost up to and with the unit `up_to`; None = all that follow, in the last tier and in no other."""

    up_to: int | None
    amount_micro: int


class GraduatedPrice(msgspec.Struct, frozen=True, tag="graduated", tag_field="kind"):
    """Each unit costs what its tier says, by how many were used before it in the period. Takes whole units only."""

    tiers: tuple[Tier, ...]
    per: int = 1


class VolumePrice(msgspec.Struct, frozen=True, tag="volume", tag_field="kind"):
    """All units of an event cost what the tier says that the event's own quantity falls into."""

    tiers: tuple[Tier, ...]
    per: int = 1


Price = FlatPrice | PerUnitPrice | PackagePrice | GraduatedPrice | VolumePrice


class PriceVersion(msgspec.Struct, frozen=True):
    """A price from a moment on. The first of a snapshot begins at 0: it was in force when the snapshot was composed."""

    effective_at: int
    price_id: UUID
    price: Price


class Rate(msgspec.Struct, frozen=True, omit_defaults=True):
    """Versions of a price, ascending, for usage that has all the properties of `match`."""

    versions: list[PriceVersion]
    match: dict[str, str] = {}


class Priced(msgspec.Struct, frozen=True):
    """The price that was chosen, and the moment from which another may have to be."""

    price_id: UUID
    price: Price
    until_at: int = NEVER_AT


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a price: the member, as a path, and why it cannot be so."""

    field: str
    message: str


# ---- what an event costs


def cost_micro(price: Price, units_micro: int, used_micro: int = 0) -> int:
    """Cost of one event in micro-credits, rounded once, half up. No units cost nothing.

    `used_micro` is what was used before in the period; only a graduated price looks at it.
    """
    if not units_micro:
        return 0
    match price:
        case FlatPrice():
            return price.amount_micro
        case PerUnitPrice():
            return half_up_division(units_micro * price.amount_micro, price.per * MICRO)
        case PackagePrice():
            started = -(-units_micro // (price.per * MICRO))
            return started * price.amount_micro
        case GraduatedPrice():
            return graduated_cost(price, whole_units(used_micro), units_micro // MICRO)
        case VolumePrice():
            amount_micro = _tier_of(price, units_micro).amount_micro
            return half_up_division(units_micro * amount_micro, price.per * MICRO)
        case _:
            assert_never(price)


def graduated_cost(price: GraduatedPrice, used: int, units: int) -> int:
    """Cost of `units` whole units after `used` of the period. `scripts/common.lua` counts in the same way."""
    numerator, at, end = 0, used, used + units
    for tier in price.tiers:
        top = end if tier.up_to is None else min(end, tier.up_to)
        if top > at:
            numerator += (top - at) * tier.amount_micro
            at = top
    return half_up_division(numerator, price.per)


def whole_units(used_micro: int) -> int:
    """Units that a counter holds, as a graduated price counts them: begun ones do not count, nor what is below zero.

    Only whole units are used at such a price, but the feature may have had another one earlier in the period.
    """
    return max(0, used_micro // MICRO)


def _tier_of(price: VolumePrice, units_micro: int) -> Tier:
    for tier in price.tiers[:-1]:
        if tier.up_to is None or units_micro <= tier.up_to * MICRO:
            return tier
    return price.tiers[-1]


def reduced(price: GraduatedPrice) -> GraduatedPrice:
    """The same price in its smallest integers: 15,000,000 per 1,000,000 is 15 per 1."""
    factor = gcd(price.per, *(tier.amount_micro for tier in price.tiers))
    tiers = tuple(Tier(tier.up_to, tier.amount_micro // factor) for tier in price.tiers)
    return GraduatedPrice(tiers, price.per // factor)


# ---- which price an event is charged at


def always(price_id: UUID, price: Price) -> list[Rate]:
    """The rates of a feature that has one price, for everybody and at all times."""
    return [Rate([PriceVersion(0, price_id, price)])]


def choose(rates: Sequence[Rate], properties: Mapping[str, str], at: int) -> Priced:
    """The price at a moment: of the first rate that matches and has begun, its newest version that has begun.

    `rates` stand in their order of precedence. The last is for everybody and has begun, so something always matches.
    """
    until_at = NEVER_AT
    for rate in rates:
        if rate.match.items() <= properties.items():
            present: PriceVersion | None = None
            for version in rate.versions:
                if version.effective_at > at:
                    until_at = min(until_at, version.effective_at)
                    break
                present = version
            if present is not None:
                return Priced(present.price_id, present.price, until_at)
    first = rates[-1].versions[0]
    return Priced(first.price_id, first.price, until_at)


def in_precedence(rates: Iterable[Rate]) -> list[Rate]:
    """Rates in the order in which they are tried: what names more properties first, then in the order of its pairs."""
    return sorted(rates, key=lambda rate: (-len(rate.match), sorted(rate.match.items())))


# ---- what a price may be


def faults(price: Price) -> Iterator[Fault]:
    """Everything that is wrong with a price; nothing where it may be charged."""
    if not isinstance(price, FlatPrice) and not 1 <= price.per <= MAX_PER:
        yield Fault("per", f"must be between 1 and {MAX_PER}")
    if not isinstance(price, GraduatedPrice | VolumePrice):
        if price.amount_micro < 0:
            yield Fault("amount", "must not be below zero")
    elif not 1 <= len(price.tiers) <= MAX_TIERS:
        yield Fault("tiers", f"must have 1 to {MAX_TIERS} entries")
    else:
        found = list(_faults_of_tiers(price.tiers))
        yield from found
        if not found and isinstance(price, GraduatedPrice) and price.per >= 1 and not is_countable(price):
            yield Fault("tiers", "cannot be counted exactly: choose lower amounts, a lower last bound or a smaller per")


def _faults_of_tiers(tiers: Sequence[Tier]) -> Iterator[Fault]:
    below, last = 0, len(tiers) - 1
    for index, tier in enumerate(tiers):
        if tier.amount_micro < 0:
            yield Fault(f"tiers[{index}].amount", "must not be below zero")
        if index == last:
            if tier.up_to is not None:
                yield Fault(f"tiers[{index}].up_to", "must be null: the last tier is for all units that follow")
        elif tier.up_to is None:
            yield Fault(f"tiers[{index}].up_to", "is missing: only the last tier has no bound")
        elif not below < tier.up_to <= MAX_BOUND:
            yield Fault(f"tiers[{index}].up_to", f"must be above {below} and at most {MAX_BOUND}")
        else:
            below = tier.up_to


def is_countable(price: GraduatedPrice) -> bool:
    """Whether every cost at this price is worked out exactly where numbers are doubles."""
    smallest = reduced(price)
    bounds = (tier.up_to for tier in smallest.tiers if tier.up_to is not None)
    reach = max(bounds, default=0) + MAX_UNITS_MICRO // MICRO
    return all(reach * tier.amount_micro < MAX_DOUBLE for tier in smallest.tiers)


def faults_of_match(match: Mapping[str, str]) -> Iterator[Fault]:
    """Everything that is wrong with the properties that a price asks for."""
    if len(match) > MAX_MATCHED:
        yield Fault("match", f"may name {MAX_MATCHED} properties")
    for name, value in match.items():
        if not 1 <= len(name) <= MAX_NAME or "\0" in name:
            yield Fault("match", f"must name properties with 1 to {MAX_NAME} characters")
        elif not 1 <= len(value) <= MAX_VALUE or "\0" in value:
            yield Fault(f"match.{name}", f"must have 1 to {MAX_VALUE} characters")
