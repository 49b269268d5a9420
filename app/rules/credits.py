"""Credits as integers.

One credit is 1,000,000 micro-credits. Inside everything is an int of micro-credits (`*_micro`); outside credits are
JSON numbers with at most six decimals, parsed and printed exactly, never through a binary fraction.
"""

from decimal import Decimal

MICRO = 1_000_000
DECIMALS = 6
_MAX_WHOLE_DIGITS = 19
_BEYOND_MICRO = 10**_MAX_WHOLE_DIGITS * MICRO
"""More than any amount may be."""
ABOVE_ZERO = 1
"""The least that is more than nothing, in millionths."""
MAX_COST_MICRO = 10**9 * MICRO
"""The most that one event may cost: 10⁹ credits."""
MAX_UNITS_MICRO = 10**9 * MICRO
"""The most units that one event may carry: 10⁹."""
MAX_BALANCE_MICRO = 2**53 - 1
"""A double holds every balance up to here exactly: 9,007,199,254.740991 credits."""


class NotAnAmount(ValueError):
    """The number has more than six decimals or is beyond what an amount may be. Its text is for the client."""


def to_micro(number: int | Decimal, maximum_micro: int, minimum_micro: int | None = None) -> int:
    """A JSON number of at most six decimals as an integer of millionths.

    Raises NotAnAmount where it is not finite, has more decimals, is above `maximum_micro`, or below `minimum_micro`;
    without that it may be as far below zero as above.
    """
    minimum_micro = -maximum_micro if minimum_micro is None else minimum_micro
    micro = number * MICRO if isinstance(number, int) else _decimal_to_micro(number)
    if minimum_micro <= micro <= maximum_micro:
        return micro
    if minimum_micro == ABOVE_ZERO:
        raise NotAnAmount(f"must be above 0, and at most {from_micro(maximum_micro)}")
    raise NotAnAmount(f"must be between {from_micro(minimum_micro)} and {from_micro(maximum_micro)}")


def _decimal_to_micro(number: Decimal) -> int:
    if not number.is_finite():
        raise NotAnAmount("must be a finite number")
    if not number:
        return 0
    sign, digits, _ = number.as_tuple()
    # Bounded before any power is taken: 1e999999999 is a valid JSON number.
    if number.adjusted() >= _MAX_WHOLE_DIGITS:
        return -_BEYOND_MICRO if sign else _BEYOND_MICRO
    text = "".join(map(str, digits)).rstrip("0")
    decimals = len(text) - 1 - number.adjusted()
    if decimals > DECIMALS:
        raise NotAnAmount(f"must have at most {DECIMALS} decimals")
    micro = int(text) * 10 ** (DECIMALS - decimals)
    return -micro if sign else micro


def from_micro(micro: int) -> int | Decimal:
    """Millionths as the number that JSON shows: an int where it is whole, else a Decimal without trailing zeros."""
    whole, rest = divmod(micro, MICRO)
    if not rest:
        return whole
    return Decimal(micro).scaleb(-DECIMALS).normalize()


def half_up_division(numerator: int, denominator: int) -> int:
    """Numerator / denominator for non-negative integers, halves rounded up: the one rounding of a price."""
    return (2 * numerator + denominator) // (2 * denominator)
