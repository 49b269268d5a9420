"""What was asked is remembered exactly enough to name what a second request asks differently."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from app.rules.credits import MAX_UNITS_MICRO
from app.wire.fingerprint import mismatch, reservation_fingerprint, reservation_mismatch, usage_fingerprint
from tests.rules.laws import LAW


class Asked(NamedTuple):
    """What a fingerprint is made of, in the order of the body."""

    units: int
    timestamp: int | None
    properties: bytes | None
    enforce: bool

    @property
    def fingerprint(self) -> bytes:
        """Its fingerprint."""
        return usage_fingerprint(self.units, self.timestamp, self.properties, enforce=self.enforce)


asked = st.builds(
    Asked,
    st.integers(0, MAX_UNITS_MICRO),
    st.none() | st.integers(-(2**53), 2**53),
    st.none() | st.binary(max_size=30),
    st.booleans(),
)
fields = st.sets(st.sampled_from(Asked._fields))
MOST_BYTES = 255
"""Its length stands in one byte beside a stored answer."""


@LAW
@given(asked, asked, fields)
def test_mismatch_names_what_differs(first: Asked, other: Asked, taken: set[str]) -> None:
    """Exactly the fields that differ, in the order of the body."""
    second = first._replace(**{name: getattr(other, name) for name in taken})
    differing = [name for name in Asked._fields if getattr(first, name) != getattr(second, name)]
    assert mismatch(first.fingerprint, second.fingerprint) == differing
    assert (first.fingerprint == second.fingerprint) == (not differing)


@LAW
@given(asked)
def test_small(request: Asked) -> None:
    """It fits beside every stored answer."""
    assert len(request.fingerprint) <= MOST_BYTES


class Opened(NamedTuple):
    """What the fingerprint of an opening is made of."""

    amount: int
    in_credits: bool
    ttl_seconds: int
    properties: bytes | None

    @property
    def fingerprint(self) -> bytes:
        """Its fingerprint."""
        return reservation_fingerprint(self.amount, self.ttl_seconds, self.properties, in_credits=self.in_credits)


openings = st.builds(
    Opened,
    st.integers(0, MAX_UNITS_MICRO),
    st.booleans(),
    st.integers(1, 604_800),
    st.none() | st.binary(max_size=30),
)


@LAW
@given(openings, openings, st.sets(st.sampled_from(Opened._fields)))
def test_mismatch_of_openings(first: Opened, other: Opened, taken: set[str]) -> None:
    """Exactly the fields that differ, by the names of the body; units for credits differ in both."""
    second = first._replace(**{name: getattr(other, name) for name in taken})
    differing = [name for name in ("ttl_seconds", "properties") if getattr(first, name) != getattr(second, name)]
    if first.amount != second.amount:
        differing.insert(0, "credits" if first.in_credits else "units")
    if first.in_credits != second.in_credits:
        differing = ["units", "credits"]
    assert reservation_mismatch(first.fingerprint, second.fingerprint) == differing
    assert (first.fingerprint == second.fingerprint) == (first == second)
