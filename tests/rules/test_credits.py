"""Credits: exact both ways, or refused."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.credits import (
    ABOVE_ZERO,
    MAX_BALANCE_MICRO,
    MAX_COST_MICRO,
    MICRO,
    NotAnAmount,
    from_micro,
    half_up_division,
    to_micro,
)
from tests.rules.laws import LAW

micros = st.integers(-MAX_BALANCE_MICRO, MAX_BALANCE_MICRO)
decimals = st.builds(
    lambda sign, digits, exponent: Decimal((sign, digits, exponent)),
    st.integers(0, 1),
    st.lists(st.integers(0, 9), min_size=1, max_size=25).map(tuple),
    st.integers(-40, 25),
)


@LAW
@given(micros)
def test_round_trip(micro: int) -> None:
    """What is shown is read back as the same number."""
    assert to_micro(from_micro(micro), MAX_BALANCE_MICRO) == micro


@LAW
@given(micros)
def test_shown_exactly(micro: int) -> None:
    """The shown number has the value, no exponent, and no zero that says nothing."""
    shown = from_micro(micro)
    assert Fraction(shown) * MICRO == micro
    assert "E" not in str(shown)
    assert isinstance(shown, int) or not str(shown).endswith("0")


@LAW
@given(decimals)
def test_read_exactly_or_refused(number: Decimal) -> None:
    """A number is read as exactly its value in millionths, or it is no amount; nothing is rounded."""
    exact = Fraction(number) * MICRO
    if exact.denominator == 1 and abs(exact) <= MAX_COST_MICRO:
        assert to_micro(number, MAX_COST_MICRO) == exact
    else:
        with pytest.raises(NotAnAmount):
            to_micro(number, MAX_COST_MICRO)


@LAW
@given(micros, st.integers(1, 9), st.integers(7, 30))
def test_seventh_decimal_is_refused(micro: int, digit: int, place: int) -> None:
    """A digit behind the sixth decimal is never dropped in silence."""
    number = Decimal(f"{abs(micro) // MICRO}.{'0' * (place - 1)}{digit}")
    with pytest.raises(NotAnAmount, match="decimals"):
        to_micro(number, MAX_BALANCE_MICRO)


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1e999999999999", "between -1000000000 and 1000000000"),
        ("-1e999999999999", "between"),
        ("1e-999999999999", "decimals"),
        ("1e19", "between"),
        ("1e12", "between"),
        ("0.0000001", "decimals"),
        ("NaN", "finite"),
        ("Infinity", "finite"),
        ("-Infinity", "finite"),
        ("9" * 100_000, "between"),
        ("0." + "9" * 100_000, "decimals"),
    ],
)
def test_refused_at_once(text: str, says: str) -> None:
    """What is no amount is refused, and no such text costs more than its length."""
    with pytest.raises(NotAnAmount, match=says):
        to_micro(Decimal(text), MAX_COST_MICRO)


@LAW
@given(decimals, st.sampled_from([None, 0, ABOVE_ZERO]))
def test_what_is_said_of_bounds_is_true(number: Decimal, minimum_micro: int | None) -> None:
    """Whatever is refused for its size lies outside of what is said to be possible, and nothing else does."""
    exact, least = Fraction(number) * MICRO, -MAX_COST_MICRO if minimum_micro is None else minimum_micro
    said = {
        None: "must be between -1000000000 and 1000000000",
        0: "must be between 0 and 1000000000",
        ABOVE_ZERO: "must be above 0, and at most 1000000000",
    }
    if least <= exact <= MAX_COST_MICRO and exact.denominator == 1:
        assert to_micro(number, MAX_COST_MICRO, minimum_micro) == exact
        return
    with pytest.raises(NotAnAmount) as refused:
        to_micro(number, MAX_COST_MICRO, minimum_micro)
    assert str(refused.value) in {said[minimum_micro], "must have at most 6 decimals"}
    if least <= exact <= MAX_COST_MICRO:
        assert "decimals" in str(refused.value)


@pytest.mark.timeout(1)
@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("0", 0),
        ("-0", 0),
        ("0e999999999", 0),
        ("0.00", 0),
        ("0.25", 250_000),
        ("-0.000001", -1),
        ("49000", 49_000_000_000),
        ("1e3", 1_000_000_000),
        ("1.50000000000", 1_500_000),
        ("1e9", MAX_COST_MICRO),
        ("1." + "0" * 100_000, 1_000_000),
    ],
)
def test_read(text: str, micro: int) -> None:
    """Numbers as clients write them."""
    assert to_micro(Decimal(text), MAX_COST_MICRO) == micro


@LAW
@given(st.integers(0, 10**30), st.integers(1, 10**20))
def test_half_up(numerator: int, denominator: int) -> None:
    """The one rounding: the nearest integer, and of two the greater."""
    result, exact = half_up_division(numerator, denominator), Fraction(numerator, denominator)
    assert -Fraction(1, 2) < result - exact <= Fraction(1, 2)
