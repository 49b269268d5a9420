"""What base plan and add-ons come to: nothing that an add-on gives takes anything away."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.entitlements.combining import (
    MAX_LIMIT_MICRO,
    InForce,
    Subscribed,
    combine_features,
    combine_terms,
    subscribed_to,
)
from app.rules.entitlement import FeatureKind, OveragePolicy, Standing
from app.rules.lifecycle import State
from app.rules.periods import Period
from app.rules.pricing import FlatPrice, always
from app.rules.terms import PlanKind
from app.wire.snapshot import FeatureTerms
from tests.rules.laws import LAW

RATES = {str(amount): always(UUID(int=amount), FlatPrice(amount)) for amount in (1, 2, 3)}
VALUES = {
    FeatureKind.METERED: [None],
    FeatureKind.BOOLEAN: [None, "true", "false"],
    FeatureKind.STATIC: [None, '"a"', '"b"', "null"],
    FeatureKind.GAUGE: [None, "0", "5", "7", "null"],
}
IN_FORCE = [State.TRIALING, State.ACTIVE, State.PAUSED, State.OVERDUE]


def terms_of(kind: FeatureKind, *, included: st.SearchStrategy[bool] | None = None) -> st.SearchStrategy[FeatureTerms]:
    """Any terms of a feature of one kind."""
    is_metered = kind is FeatureKind.METERED
    return st.builds(
        FeatureTerms,
        st.sampled_from([[], *RATES.values()]) if is_metered else st.just([]),
        st.booleans() if included is None else included,
        st.sampled_from(OveragePolicy),
        st.none() | st.integers(0, 2**53 - 1) if is_metered else st.none(),
        st.none() | st.integers(0, 9),
        st.just(kind),
        st.sampled_from(VALUES[kind]),
    )


offers = st.sampled_from(FeatureKind).flatmap(
    lambda kind: st.tuples(terms_of(kind), st.lists(terms_of(kind, included=st.sampled_from([True])), max_size=3))
)


def has_terms(terms: FeatureTerms) -> bool:
    """As `PlanSnapshot.access` says it."""
    return bool(terms.rates) if terms.kind is FeatureKind.METERED else terms.value is not None


def reach(terms: FeatureTerms) -> float:
    """How far a limit or a cap lets go."""
    if terms.kind is FeatureKind.GAUGE:
        return -1 if terms.value is None else float("inf") if terms.value == "null" else int(terms.value)
    return float("inf") if terms.limit_units_micro is None else terms.limit_units_micro


# ---- laws


@LAW
@given(offers)
def test_an_addon_takes_nothing_away(offer: tuple[FeatureTerms, list[FeatureTerms]]) -> None:
    """What the base lets use stays usable, at its price and overage, as far as before or further; switches stay on."""
    base, additions = offer
    combined = combine_terms(base, additions)
    assert combined.included is (base.included or bool(additions))
    if base.included:
        assert has_terms(combined) >= has_terms(base)
        assert combined.rates == base.rates or not base.rates
        assert (combined.overage_policy, combined.overage_limit_micro) == (
            base.overage_policy,
            base.overage_limit_micro,
        )
        assert reach(combined) >= reach(base)
        assert base.kind is not FeatureKind.BOOLEAN or base.value != "true" or combined.value == "true"
    assert all(reach(combined) >= reach(addition) for addition in additions)


@LAW
@given(offers)
def test_what_the_base_leaves_out_does_not_matter(offer: tuple[FeatureTerms, list[FeatureTerms]]) -> None:
    """Where an add-on includes what the base does not, nothing of it is the base's."""
    base, additions = offer
    bare = FeatureTerms([], included=False, kind=base.kind)
    if additions:
        assert combine_terms(structs.replace(base, included=False), additions) == combine_terms(bare, additions)


@LAW
@given(offers)
def test_one_by_one_or_together(offer: tuple[FeatureTerms, list[FeatureTerms]]) -> None:
    """Another add-on adds to what was there, whatever made that."""
    base, additions = offer
    base = structs.replace(base, included=True)
    combined = base
    for addition in additions:
        combined = combine_terms(combined, [addition])
    together = combine_terms(base, additions)
    assert structs.replace(combined, rates=[]) == structs.replace(together, rates=[])
    assert bool(combined.rates) is bool(together.rates)


@LAW
@given(offers, offers)
def test_features_do_not_meet(
    one: tuple[FeatureTerms, list[FeatureTerms]], other: tuple[FeatureTerms, list[FeatureTerms]]
) -> None:
    """Each feature is combined by itself, from the add-ons that include it; what came in stays as it is."""
    left_out = structs.replace(other[0], included=False)
    base = {"a": one[0], "b": other[0]}
    addons = [{"a": addition, "b": left_out} for addition in one[1]]
    assert combine_features(base, addons) == {"a": combine_terms(*one), "b": other[0]}
    assert base == {"a": one[0], "b": other[0]}


# ---- cases

METERED = """
base          | add-ons             | together
p1 limit 5    |                     | p1 limit 5
p1 limit 5    | p2 limit 3          | p1 limit 8
p1 limit 5    | p2 limit 3, limit 0 | p1 limit 8
p1 limit 5    | p2                  | p1
p1            | p2 limit 3          | p1
-             | p2 limit 3          | p2 limit 3
- p1 limit 9  | p2 limit 3          | p2 limit 3
-             | p2 limit 3, p3      | p3
limit 5       | p2 limit 3          | p2 limit 8
"""
OTHERS = """
kind    | base    | add-ons    | together
gauge   | 5       | 3          | 8
gauge   | 5       | 3, 2       | 10
gauge   | 5       | null       | null
gauge   | null    | 3          | null
gauge   | none    | 3          | 3
gauge   | - 5     | 3          | 3
gauge   | none    | none       | none
boolean | false   | true       | true
boolean | true    | false      | true
boolean | false   | false      | false
boolean | - true  | false      | false
static  | "a"     | "b"        | "b"
static  | "a"     | "b", "c"   | "c"
static  | "a"     | none       | "a"
static  | - "a"   | none       | none
"""


def rows(table: str) -> list[list[str]]:
    """Cells of a text table, without its head."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()[1:]]


def read_metered(text: str) -> FeatureTerms:
    """`-` where it is not included, `p1` its price, `limit 5`."""
    words = text.split()
    limit = int(words[words.index("limit") + 1]) if "limit" in words else None
    price = next((RATES[word[1:]] for word in words if word.startswith("p")), [])
    return FeatureTerms(price, "-" not in words, limit_units_micro=limit)


@pytest.mark.parametrize(("base", "addons", "together"), rows(METERED))
def test_metered(base: str, addons: str, together: str) -> None:
    """Limits add up; the price is the base's, or of the add-on that came last."""
    additions = [read_metered(addon) for addon in addons.split(",") if addon]
    assert combine_terms(read_metered(base), additions) == read_metered(together)


def read_value(kind: str, text: str) -> FeatureTerms:
    """`-` where it is not included, and its value."""
    value = text.removeprefix("- ")
    return FeatureTerms(
        [], included=not text.startswith("-"), kind=FeatureKind(kind), value=None if value == "none" else value
    )


@pytest.mark.parametrize(("kind", "base", "addons", "together"), rows(OTHERS))
def test_values(kind: str, base: str, addons: str, together: str) -> None:
    """Caps add up, switches are on where one is, of other values the last add-on's is taken."""
    additions = [read_value(kind, addon.strip()) for addon in addons.split(",")]
    assert combine_terms(read_value(kind, base), additions) == read_value(kind, together)


def test_limits_stand_still_where_counters_do() -> None:
    """However many add-ons are bought."""
    most = FeatureTerms([], included=True, limit_units_micro=MAX_LIMIT_MICRO)
    assert combine_terms(most, [most, most]) == most


# ---- which subscriptions count


def subscription(kind: PlanKind, state: State, number: int = 1, **allows: bool) -> InForce:
    """A subscription in force to the version of this number."""
    return InForce(UUID(int=number), kind, state, Period(0, 9), **allows)


@pytest.mark.parametrize("state", IN_FORCE)
@pytest.mark.parametrize("allows", [{}, {"allow_usage_while_overdue": True}, {"usable_while_paused": True}])
def test_which_addons_give(state: State, allows: dict[str, bool]) -> None:
    """Those that are paid for and not paused; while overdue, where their version says so."""
    gives = {State.TRIALING, State.ACTIVE} | ({State.OVERDUE} if "allow_usage_while_overdue" in allows else set())
    found = subscribed_to([subscription(PlanKind.ADDON, state, **allows)])
    assert found == Subscribed(None, (UUID(int=1),) if state in gives else ())
    assert (found.status, found.standing) == ("none", Standing.OK)


@pytest.mark.parametrize("state", IN_FORCE)
def test_the_base_says_how_the_customer_stands(state: State) -> None:
    """Whatever add-ons are beside it; these keep their order."""
    base = subscription(PlanKind.BASE, state)
    addons = [subscription(PlanKind.ADDON, State.ACTIVE, number) for number in (3, 2, 3)]
    found = subscribed_to([addons[0], base, *addons[1:]])
    assert found == Subscribed(base, (UUID(int=3), UUID(int=2), UUID(int=3)))
    assert (found.status, found.standing) == (state, base.standing)
