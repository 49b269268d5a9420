"""What a change of plan is worth in the middle of a cycle: by the time that remains, to the micro-credit.

The part of a grant that belongs to the time that remains of its cycle goes, and the same part of the new grant comes;
the difference is what is granted. One after the other, such differences give the mean of the plans, each weighted by
how long it was held: never more than the highest of them.
"""

from collections.abc import Sequence
from math import lcm

import msgspec


class Share(msgspec.Struct, frozen=True):
    """The part of a grant that belongs to the time that remains of its cycle: remaining / whole of the amount."""

    amount_micro: int
    remaining_microseconds: int
    whole_microseconds: int
    """At least one, and at least what remains."""


def prorated_difference(old: Sequence[Share], new: Sequence[Share]) -> int:
    """What the new shares are worth above the old ones, in micro-credits; below zero where they are worth less.

    Rounded once, down (towards minus infinity): rounding never makes credit, so that changes to and fro never give
    more than the exact share of each.
    """
    whole = _common_whole([*old, *new])
    return (sum(_in_parts(new, whole)) - sum(_in_parts(old, whole))) // whole


def weights_of(shares: Sequence[Share]) -> list[int]:
    """What the shares are worth beside each other."""
    return _in_parts(shares, _common_whole(shares))


def split_by_largest_remainder(amount_micro: int, weights: Sequence[int]) -> list[int]:
    """An amount in parts that go with the weights, and that sum to it exactly.

    Each part is rounded down, and what is left goes, one micro-credit each, to those that lost most by it, of equal
    ones to the first: nothing is made and nothing lost, and no part is off by a whole micro-credit. The weights are
    not negative; where all are zero, all count the same. The amount is not negative, and nothing where there is no
    weight at all.
    """
    shares = list(weights) if any(weights) else [1] * len(weights)
    total = sum(shares)
    parts = [amount_micro * share // total for share in shares]
    lost = [amount_micro * share % total for share in shares]
    most = sorted(range(len(shares)), key=lambda place: (-lost[place], place))
    for place in most[: amount_micro - sum(parts)]:
        parts[place] += 1
    return parts


def _common_whole(shares: Sequence[Share]) -> int:
    return lcm(*(share.whole_microseconds for share in shares))


def _in_parts(shares: Sequence[Share], whole: int) -> list[int]:
    """Each share in units of one micro-credit / `whole`: whole numbers, so that they add up exactly."""
    return [s.amount_micro * s.remaining_microseconds * (whole // s.whole_microseconds) for s in shares]
