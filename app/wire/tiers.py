"""A graduated price as scripts are given it: `graduated_cost` in `scripts/common.lua` reads it."""

import msgspec

from app.rules.pricing import GraduatedPrice, reduced

_encoder = msgspec.msgpack.Encoder()


def pack_tiers(price: GraduatedPrice) -> bytes:
    """A MessagePack array: `per`, then of each tier its amount and its bound; the last tier has none.

    In the smallest integers that say the same, because Redis counts them with doubles.
    """
    smallest = reduced(price)
    numbers = [smallest.per]
    for tier in smallest.tiers:
        numbers.append(tier.amount_micro)
        if tier.up_to is not None:
            numbers.append(tier.up_to)
    return _encoder.encode(numbers)
