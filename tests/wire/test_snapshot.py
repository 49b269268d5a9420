"""Snapshots and key records: read back as written, and named by what they say."""

from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.rules.entitlement import FeatureKind, OveragePolicy, Standing
from app.rules.pricing import (
    FlatPrice,
    GraduatedPrice,
    PackagePrice,
    PerUnitPrice,
    PriceVersion,
    Rate,
    Tier,
    VolumePrice,
    always,
)
from app.wire.scopes import ALL_SCOPES, Scope, allows
from app.wire.snapshot import (
    ApiKeyRecord,
    FeatureTerms,
    PlanSnapshot,
    decode_api_key,
    decode_plan,
    encode_api_key,
    encode_plan,
)
from tests.rules.laws import LAW

amounts = st.integers(0, 10**15)
pers = st.integers(1, 10**9)
tiers = st.lists(st.builds(Tier, st.none() | st.integers(1, 10**12), amounts), min_size=1, max_size=3).map(tuple)
prices = st.one_of(
    st.builds(FlatPrice, amounts),
    st.builds(PerUnitPrice, amounts, pers),
    st.builds(PackagePrice, amounts, pers),
    st.builds(GraduatedPrice, tiers, pers),
    st.builds(VolumePrice, tiers, pers),
)
versions = st.lists(st.builds(PriceVersion, st.integers(0, 2**53), st.uuids(), prices), min_size=1, max_size=2)
rates = st.builds(Rate, versions, st.dictionaries(st.text("ab"), st.text(max_size=3), max_size=2))
values = st.none() | st.sampled_from(["true", "false", "null", "10", '{"a":[1.50,"ä"]}'])
terms = st.builds(
    FeatureTerms,
    *(st.lists(rates, max_size=2), st.booleans(), st.sampled_from(OveragePolicy)),
    kind=st.sampled_from(FeatureKind),
    value=values,
)
snapshots = st.builds(
    PlanSnapshot,
    st.uuids(),
    st.booleans(),
    st.dictionaries(st.text("abc._-", min_size=1), terms, max_size=5),
    st.dictionaries(st.text(max_size=3), st.dictionaries(st.text("abc", min_size=1), st.none() | st.text(max_size=3))),
    st.sampled_from(Standing),
)
records = st.builds(
    ApiKeyRecord,
    st.uuids(),
    st.uuids(),
    st.sampled_from(["sandbox", "live"]),
    st.frozensets(st.sampled_from(ALL_SCOPES).map(str)),
    st.none() | st.integers(0, 2**53),
)


@LAW
@given(snapshots, snapshots, st.randoms(use_true_random=False))
def test_a_snapshot_is_named_by_its_content(snapshot: PlanSnapshot, other: PlanSnapshot, random: Random) -> None:
    """Equal compositions have one id, whatever order their features came in; others have other ids."""
    snapshot_id, content = encode_plan(snapshot)
    assert decode_plan(content) == snapshot
    features = list(snapshot.features.items())
    random.shuffle(features)
    event_types = list(snapshot.event_types.items())
    random.shuffle(event_types)
    shuffled = structs.replace(snapshot, features=dict(features), event_types=dict(event_types))
    assert encode_plan(shuffled) == (snapshot_id, content)
    assert (encode_plan(other)[0] == snapshot_id) == (other == snapshot)


@LAW
@given(snapshots, st.text("abc", min_size=1))
def test_access(snapshot: PlanSnapshot, feature_key: str) -> None:
    """A feature is unknown exactly where the environment does not have it."""
    access = snapshot.access(feature_key)
    assert (access is None) == (feature_key not in snapshot.features)
    if access is not None:
        found = snapshot.features[feature_key]
        is_metered = found.kind is FeatureKind.METERED
        assert access.has_terms == (bool(found.rates) if is_metered else found.value is not None)
        assert access.is_off == ((found.kind, found.value) == (FeatureKind.BOOLEAN, "false"))
        said = (access.included, access.subscribed, access.standing)
        assert said == (found.included, snapshot.subscribed, snapshot.standing)


@LAW
@given(terms)
def test_only_graduated_prices_need_a_counter(terms: FeatureTerms) -> None:
    """A feature is counted where any of its prices, now or to come, looks at what was used before."""
    prices = [version.price for rate in terms.rates for version in rate.versions]
    assert terms.is_counted == any(isinstance(price, GraduatedPrice) for price in prices)


@LAW
@given(records)
def test_key_records_are_read_back(record: ApiKeyRecord) -> None:
    """What Redis holds of a key is what was put there."""
    assert decode_api_key(encode_api_key(record)) == record


@LAW
@given(st.frozensets(st.sampled_from(ALL_SCOPES)), st.sampled_from(ALL_SCOPES))
def test_scopes(scopes: frozenset[Scope], needed: Scope) -> None:
    """A key may do what it names, everything as admin, and nothing without a scope."""
    assert allows(scopes, needed) == (needed in scopes or Scope.ADMIN in scopes)
    assert not allows(frozenset(), needed)


def test_snapshot_ids_stay() -> None:
    """Accounts name their snapshots: the same composition has the same id in every release."""
    snapshot = PlanSnapshot(
        UUID(int=1), subscribed=True, features={"a": FeatureTerms(always(UUID(int=2), FlatPrice(5)), included=True)}
    )
    assert encode_plan(snapshot)[0] == "08dac6bdebfae156594dd2"
