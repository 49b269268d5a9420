"""Ids: their version, their order, their shown form."""

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.ids import MalformedId, derived_id, parse, show, uuid7
from tests.rules.laws import LAW

MILLISECOND = 1000
RANDOM_BITS = 74
moments, bits = st.integers(0, 2**53 - 1), st.integers(0, 2**80 - 1)
parts = st.lists(st.binary(max_size=12).filter(lambda part: b"\0" not in part), min_size=1, max_size=4).map(tuple)
uuids = st.uuids()


@LAW
@given(moments, bits)
def test_uuid7_is_one(at: int, random_bits: int) -> None:
    """RFC 9562: milliseconds first, then version 7 and the variant among the random bits."""
    value = uuid7(at, random_bits)
    assert (value.version, value.variant) == (7, RFC_4122)
    assert value.int >> 80 == at // MILLISECOND


@LAW
@given(moments, moments, bits, bits)
def test_uuid7_orders_by_time(first_at: int, second_at: int, first_bits: int, second_bits: int) -> None:
    """An id of an earlier millisecond is the smaller one, as number and as text."""
    first, second = uuid7(first_at, first_bits), uuid7(second_at, second_bits)
    if first_at // MILLISECOND != second_at // MILLISECOND:
        assert (first < second) == (first_at < second_at) == (first.hex < second.hex)


def test_uuid7_keeps_74_random_bits() -> None:
    """Each bit of chance, but for the six that version and variant take, makes another id."""
    assert len({uuid7(0, 1 << bit) for bit in range(80)} - {uuid7(0, 0)}) == RANDOM_BITS


@LAW
@given(parts, parts)
def test_derived_id(scope: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    """The same scope, the same id; another scope, another id, however its parts are cut."""
    value = derived_id(*scope)
    assert (value.version, value.variant) == (8, RFC_4122)
    assert (derived_id(*other) == value) == (other == scope)


def test_derived_id_stays() -> None:
    """Ledgers are full of these: they may never change."""
    assert derived_id(b"usage", b"environment", b"key") == UUID("d44300e5-ec0d-873b-805b-6d050e0f184d")


@LAW
@given(uuids)
def test_shown_and_parsed(value: UUID) -> None:
    """What is shown is parsed as the same id, under its own prefix only."""
    assert parse("sub", show("sub", value)) == value
    with pytest.raises(MalformedId):
        parse("cus", show("sub", value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sub",
        "sub_",
        "sub" + "0" * 32,
        "_" + "0" * 32,
        "SUB_" + "0" * 32,
        "sub_" + "0" * 31,
        "sub_" + "0" * 33,
        "sub_" + "g" * 32,
        "sub_" + "0" * 8 + "-" + "0" * 23,
        "sub_{" + "0" * 30 + "}",
        "sub_0_" + "0" * 30,
        "sub_0x" + "0" * 30,
        "sub_+" + "0" * 31,
        "sub_ " + "0" * 31,
        "sub_" + "\N{ARABIC-INDIC DIGIT ONE}" * 32,
    ],
)
def test_malformed(text: str) -> None:
    """Nothing but the prefix, an underscore and 32 hexadecimal digits is an id."""
    with pytest.raises(MalformedId):
        parse("sub", text)
