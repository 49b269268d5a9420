"""Prices: exact rationals, rounded once; and which of them an event is charged at."""

from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.credits import MAX_UNITS_MICRO, MICRO
from app.rules.moments import NEVER_AT
from app.rules.pricing import (
    MAX_BOUND,
    MAX_DOUBLE,
    MAX_MATCHED,
    MAX_PER,
    MAX_TIERS,
    FlatPrice,
    GraduatedPrice,
    PackagePrice,
    PerUnitPrice,
    Price,
    Priced,
    PriceVersion,
    Rate,
    Tier,
    VolumePrice,
    always,
    choose,
    cost_micro,
    faults,
    faults_of_match,
    in_precedence,
    is_countable,
    reduced,
)
from tests.rules.laws import LAW

units = st.integers(0, MAX_UNITS_MICRO)
whole = st.integers(0, MAX_UNITS_MICRO // MICRO).map(lambda number: number * MICRO)
amounts = st.integers(0, 10**15)
pers = st.one_of(st.just(1), st.integers(1, MAX_PER))
few = st.integers(1, 30)
per_unit = st.builds(PerUnitPrice, amounts, pers)
package = st.builds(PackagePrice, amounts, pers)


@st.composite
def tiered(draw: st.DrawFn, amount: st.SearchStrategy[int] = amounts) -> tuple[Tier, ...]:
    """Tiers with ascending bounds."""
    bounds = sorted(draw(st.sets(st.one_of(few, st.integers(1, MAX_BOUND)), max_size=4)))
    return tuple(Tier(up_to, draw(amount)) for up_to in (*bounds, None))


graduated = st.builds(GraduatedPrice, tiered(), pers)
volume = st.builds(VolumePrice, tiered(), pers)
prices = st.one_of(st.builds(FlatPrice, amounts), per_unit, package, graduated, volume)


# ---- what an event costs


@LAW
@given(per_unit, units)
def test_half_up_against_fractions(price: PerUnitPrice, units_micro: int) -> None:
    """A price per unit costs units times amount / per, to the nearest micro-credit, halves up."""
    exact = Fraction(units_micro * price.amount_micro, price.per * MICRO)
    assert cost_micro(price, units_micro) == floor(exact + Fraction(1, 2))


@LAW
@given(st.one_of(st.builds(FlatPrice, amounts), per_unit, package), units, units)
def test_more_units_never_cost_less(price: Price, some: int, more: int) -> None:
    """Cost is monotone in units; not so for volume, where more may be cheaper in all."""
    assert cost_micro(price, min(some, more)) <= cost_micro(price, max(some, more))


@LAW
@given(graduated, whole, whole, units)
def test_more_units_never_cost_less_by_tiers(price: GraduatedPrice, some: int, more: int, used: int) -> None:
    """Nor do they at a graduated price, whatever was used before."""
    assert cost_micro(price, min(some, more), used) <= cost_micro(price, max(some, more), used)


@LAW
@given(prices, units)
def test_nothing_costs_nothing(price: Price, used: int) -> None:
    """No units, no cost, of whatever kind."""
    assert cost_micro(price, 0, used) == 0


@LAW
@given(amounts, st.integers(1, MAX_UNITS_MICRO))
def test_flat(amount_micro: int, units_micro: int) -> None:
    """A flat price is the same for every event."""
    assert cost_micro(FlatPrice(amount_micro), units_micro) == amount_micro


@LAW
@given(per_unit, units, units)
def test_splitting_shifts_at_most_a_rounding(price: PerUnitPrice, first: int, second: int) -> None:
    """One event or two: the costs differ by no more than the one rounding, a single micro-credit."""
    apart = cost_micro(price, first) + cost_micro(price, second)
    assert abs(cost_micro(price, first + second) - apart) <= 1


def test_published_example() -> None:
    """3 credits per 1,000,000 tokens: 500 tokens cost 0.0015 credits."""
    assert cost_micro(PerUnitPrice(3 * MICRO, 1_000_000), 500 * MICRO) == 1_500


@LAW
@given(package, units)
def test_packages_begun_are_paid(price: PackagePrice, units_micro: int) -> None:
    """The amount times the packages that hold the units, the last one whole."""
    assert cost_micro(price, units_micro) == ceil(Fraction(units_micro, price.per * MICRO)) * price.amount_micro


@LAW
@given(st.builds(GraduatedPrice, tiered(st.integers(0, 99)), pers), st.integers(0, 40), st.integers(0, 40))
def test_graduated_unit_by_unit(price: GraduatedPrice, used: int, count: int) -> None:
    """Each unit at the price of the tier that it is in, in all rounded once."""

    def amount_of(unit: int) -> int:
        return next(tier.amount_micro for tier in price.tiers if tier.up_to is None or unit <= tier.up_to)

    exact = Fraction(sum(amount_of(used + number) for number in range(1, count + 1)), price.per)
    assert cost_micro(price, count * MICRO, used * MICRO) == floor(exact + Fraction(1, 2))


@LAW
@given(graduated, st.integers(0, MAX_BOUND), st.lists(st.integers(1, 10**9), min_size=1, max_size=6))
def test_graduated_splitting_with_the_counter(price: GraduatedPrice, used: int, parts: list[int]) -> None:
    """Events one after the other cost what one for all of them costs: exactly where nothing is rounded.

    Otherwise they differ by no more than a half for each of them, and one for the whole.
    """
    apart, at = 0, used
    for part in parts:
        apart += cost_micro(price, part * MICRO, at * MICRO)
        at += part
    together = cost_micro(price, sum(parts) * MICRO, used * MICRO)
    assert 2 * abs(together - apart) <= (0 if price.per == 1 else len(parts) + 1)


@LAW
@given(graduated, whole, st.integers(0, MICRO - 1))
def test_graduated_counts_whole_units(price: GraduatedPrice, used: int, fraction: int) -> None:
    """What was used before counts in whole units, and never below zero."""
    assert cost_micro(price, 7 * MICRO, used + fraction) == cost_micro(price, 7 * MICRO, used)
    assert cost_micro(price, 7 * MICRO, -used - fraction) == cost_micro(price, 7 * MICRO, 0)


@LAW
@given(graduated, whole, whole)
def test_reducing_changes_no_cost(price: GraduatedPrice, units_micro: int, used: int) -> None:
    """The same price in smaller numbers."""
    assert cost_micro(reduced(price), units_micro, used) == cost_micro(price, units_micro, used)


@LAW
@given(st.builds(GraduatedPrice, tiered(st.integers(0, 10**7)), pers), whole, st.integers(0, MAX_BOUND))
def test_countable_prices_fit_doubles(price: GraduatedPrice, units_micro: int, used: int) -> None:
    """Where a price is countable, no number on the way to a cost is beyond those that doubles hold exactly."""
    if is_countable(price):
        whole_cost = cost_micro(GraduatedPrice(reduced(price).tiers), units_micro, used * MICRO)
        assert whole_cost < MAX_DOUBLE


@LAW
@given(st.integers(1, 10**9), st.integers(1, 5 * 10**9), st.integers(0, MICRO - 1))
def test_volume_takes_the_tier_of_the_quantity(up_to: int, count: int, fraction: int) -> None:
    """All units at the price of the tier that the event's quantity falls into; the bound belongs to its tier."""
    price = VolumePrice((Tier(up_to, 3), Tier(None, 2)))
    units_micro = count * MICRO + fraction
    of_tier = PerUnitPrice(3 if units_micro <= up_to * MICRO else 2)
    assert cost_micro(price, units_micro) == cost_micro(of_tier, units_micro)


@LAW
@given(tiered(), pers, st.integers(1, MAX_UNITS_MICRO), st.integers(1, MAX_UNITS_MICRO))
def test_volume_goes_up_the_tiers(tiers: tuple[Tier, ...], per: int, some: int, more: int) -> None:
    """More units never fall into an earlier tier; tier by tier the price is a price per unit."""
    numbered = VolumePrice(tuple(Tier(tier.up_to, number) for number, tier in enumerate(tiers)), 1)
    chosen = [cost_micro(numbered, quantity * MICRO) // quantity for quantity in sorted((some, more))]
    assert chosen == sorted(chosen)
    amount = tiers[chosen[0]].amount_micro
    quantity = min(some, more) * MICRO
    assert cost_micro(VolumePrice(tiers, per), quantity) == cost_micro(PerUnitPrice(amount, per), quantity)


# ---- which price an event is charged at

names = st.sampled_from(["model", "region", "tier"])
values = st.sampled_from(["a", "b"])
matches = st.dictionaries(names, values, max_size=3)
begins = st.integers(1, 20)


@st.composite
def rates_of(draw: st.DrawFn) -> list[Rate]:
    """Rates as snapshots hold them: in order, the one for everybody begins at 0, the others when they may."""

    def versions(first: int) -> list[PriceVersion]:
        moments = sorted({first, *draw(st.sets(begins, max_size=3))})
        return [PriceVersion(at, draw(st.uuids()), FlatPrice(draw(amounts))) for at in moments]

    others = draw(st.lists(matches.filter(bool), max_size=4, unique_by=lambda match: tuple(sorted(match.items()))))
    return in_precedence([Rate(versions(0)), *(Rate(versions(draw(st.sampled_from([0, 5]))), m) for m in others)])


@LAW
@given(rates_of(), matches, st.integers(0, 25))
def test_choosing_is_total_and_takes_the_first(rates: list[Rate], properties: dict[str, str], at: int) -> None:
    """The newest begun version of the first rate that matches and has begun; there always is one."""
    begun = [
        [version for version in rate.versions if version.effective_at <= at]
        for rate in rates
        if all(properties.get(name) == value for name, value in rate.match.items())
    ]
    expected = next(versions[-1] for versions in begun if versions)
    chosen = choose(rates, properties, at)
    assert (chosen.price_id, chosen.price) == (expected.price_id, expected.price)


@LAW
@given(rates_of(), matches, st.integers(0, 25))
def test_a_choice_holds_until_it_says(rates: list[Rate], properties: dict[str, str], at: int) -> None:
    """At every moment before `until_at` the same is chosen, and it is never in the past."""
    chosen = choose(rates, properties, at)
    assert chosen.until_at > at
    for later in range(at, min(chosen.until_at, 30)):
        assert choose(rates, properties, later) == chosen
    if chosen.until_at == NEVER_AT:
        assert choose(rates, properties, 10**15) == chosen


@LAW
@given(rates_of(), st.randoms(use_true_random=False))
def test_precedence_is_an_order(rates: list[Rate], random: Random) -> None:
    """More pairs go first, the one for everybody last, whatever order they come in."""
    shuffled = rates.copy()
    random.shuffle(shuffled)
    assert in_precedence(shuffled) == rates
    assert all(len(before.match) >= len(after.match) for before, after in pairwise(rates))
    assert rates[-1].match == {}


@LAW
@given(prices, matches, st.integers(0, NEVER_AT))
def test_one_price_for_all(price: Price, properties: dict[str, str], at: int) -> None:
    """A feature with one price has that price, whenever and for whatever."""
    assert choose(always(UUID(int=1), price), properties, at) == Priced(UUID(int=1), price)


# ---- what a price may be

ASCENDING = (Tier(10, 2), Tier(20, 1), Tier(None, 0))


@pytest.mark.parametrize(
    ("price", "fields"),
    [
        (FlatPrice(0), []),
        (FlatPrice(-1), ["amount"]),
        (PerUnitPrice(-1, 0), ["per", "amount"]),
        (PackagePrice(5, MAX_PER), []),
        (PackagePrice(5, MAX_PER + 1), ["per"]),
        (GraduatedPrice(ASCENDING), []),
        (VolumePrice(ASCENDING, 1000), []),
        (VolumePrice(()), ["tiers"]),
        (VolumePrice((Tier(None, 1),) * (MAX_TIERS + 1)), ["tiers"]),
        (VolumePrice((Tier(5, 1),)), ["tiers[0].up_to"]),
        (VolumePrice((Tier(None, 1), Tier(None, 1))), ["tiers[0].up_to"]),
        (VolumePrice((Tier(5, 1), Tier(5, 1), Tier(None, 1))), ["tiers[1].up_to"]),
        (VolumePrice((Tier(0, 1), Tier(None, -1))), ["tiers[0].up_to", "tiers[1].amount"]),
        (VolumePrice((Tier(MAX_BOUND + 1, 1), Tier(None, 1))), ["tiers[0].up_to"]),
        (GraduatedPrice((Tier(None, 9_007_199),)), []),
        (GraduatedPrice((Tier(None, 9_007_200),)), ["tiers"]),
        (GraduatedPrice((Tier(10**9, 1), Tier(None, 4_503_599))), []),
        (GraduatedPrice((Tier(10**9, 1), Tier(None, 4_503_600))), ["tiers"]),
        (GraduatedPrice((Tier(None, 9_007_200),), 10), []),
        (VolumePrice((Tier(None, 10**15),)), []),
    ],
)
def test_faults(price: Price, fields: list[str]) -> None:
    """Every member that cannot be so is named, and nothing else."""
    assert [fault.field for fault in faults(price)] == fields


@pytest.mark.parametrize(
    ("match", "fields"),
    [
        ({}, []),
        ({"model": "large"}, []),
        ({"m" * 64: "v" * 256}, []),
        ({"m" * 65: "v"}, ["match"]),
        ({"": "v"}, ["match"]),
        ({"m": ""}, ["match.m"]),
        ({"m": "v" * 257}, ["match.m"]),
        ({"m": "a\0b"}, ["match.m"]),
        ({f"m{number}": "v" for number in range(MAX_MATCHED)}, []),
        ({f"m{number}": "v" for number in range(MAX_MATCHED + 1)}, ["match"]),
    ],
)
def test_faults_of_match(match: dict[str, str], fields: list[str]) -> None:
    """As for prices."""
    assert [fault.field for fault in faults_of_match(match)] == fields
