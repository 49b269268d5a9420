"""What becomes of terms that a customer has of their own."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.entitlements.overriding import Override, override_features, override_terms
from app.rules.entitlement import OveragePolicy
from app.rules.pricing import FlatPrice, always
from app.wire.snapshot import FeatureTerms
from tests.rules.laws import LAW

PRICED = always(UUID(int=1), FlatPrice(1))
micro = st.none() | st.integers(0, 10)
values = st.none() | st.sampled_from(["null", "5", "false"])
all_terms = st.builds(
    FeatureTerms,
    st.sampled_from([[], PRICED]),
    st.booleans(),
    st.sampled_from(OveragePolicy),
    *(micro, micro),
    value=values,
)
overrides = st.builds(
    Override,
    st.just("f"),
    st.none() | st.booleans(),
    values,
    st.booleans(),
    micro,
    st.none() | st.sampled_from(OveragePolicy),
    micro,
)


@LAW
@given(all_terms, overrides, st.booleans())
def test_what_is_set_holds_and_the_rest_stays(terms: FeatureTerms, override: Override, subscribed: bool) -> None:  # noqa: FBT001 - drawn
    """Field by field; prices are nobody's own."""
    changed = override_terms(terms, override, subscribed=subscribed)
    assert (changed.rates, changed.kind) == (terms.rates, terms.kind)
    assert changed.value == (terms.value if override.value is None else override.value)
    assert changed.limit_units_micro == (override.limit_units_micro if override.sets_limit else terms.limit_units_micro)
    overage = (terms.overage_policy, terms.overage_limit_micro)
    if override.overage_policy is not None:
        overage = (override.overage_policy, override.overage_limit_micro)
    assert (changed.overage_policy, changed.overage_limit_micro) == overage
    if override.included is not None:
        assert changed.included is override.included
    elif subscribed:
        assert changed.included is terms.included


@LAW
@given(all_terms, overrides, st.booleans())
def test_twice_is_once(terms: FeatureTerms, override: Override, subscribed: bool) -> None:  # noqa: FBT001 - drawn
    """It says what holds, not by how much it changes."""
    once = override_terms(terms, override, subscribed=subscribed)
    assert override_terms(once, override, subscribed=subscribed) == once


def test_a_value_makes_a_default_of_one_that_has_none() -> None:
    """Without a subscription whatever has a value may be used; in a plan it has to be included."""
    bare, own = FeatureTerms([], included=False), Override("f", value="5")
    assert override_terms(bare, own, subscribed=False).included
    assert not override_terms(bare, own, subscribed=True).included


@LAW
@given(all_terms, overrides)
def test_others_share_what_is_not_overridden(terms: FeatureTerms, override: Override) -> None:
    """The features that came in are not touched, and nor is another feature."""
    features = {"f": terms, "g": terms}
    changed = override_features(features, (override,), subscribed=True)
    assert features == {"f": terms, "g": terms}
    assert changed == {"f": override_terms(terms, override, subscribed=True), "g": terms}
    assert override_features(features, (), subscribed=True) == features
