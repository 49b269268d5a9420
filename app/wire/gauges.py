"""What becomes of gauges, as it stands in the stream, and what is held of them, as it is loaded.

A gauge is a number of units that are held at once (seats, runs). Holding costs nothing: an entry's cost is 0, and its
`d` says until when is held, since the script dates it.
"""

from collections.abc import Sequence

import msgspec

from app.rules.moments import NEVER_AT

MAX_HOLDER_LENGTH = 256
MAX_FEATURE_KEY_LENGTH = 64
MAX_HELD_UNITS = 10**9
"""By one holder. All holders together stay far below what Lua's doubles count exactly."""
MAX_HOLDERS = 10_000
"""Of one customer and feature."""
MAX_HOLD_SECONDS = 7 * 86_400
"""The longest time for which can be held without asking again; a hold without a time has no end of its own."""


class GaugeAcquired(msgspec.Struct, frozen=True, array_like=True, tag="acquired"):
    """The holder holds so many units from now on, whatever it held before."""

    feature_key: str
    holder: str
    units: int
    expires_at: int | None = None
    """Microseconds, from the entry's `d`; None = until it is released."""


class GaugeReleased(msgspec.Struct, frozen=True, array_like=True, tag="released"):
    """The holder holds nothing any more."""

    feature_key: str
    holder: str


GaugeChange = GaugeAcquired | GaugeReleased


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """What one holder holds of one feature; `expires_at` 0 = until it is released."""

    feature_key: str
    holder: str
    units: int
    expires_at: int = 0


_decoder = msgspec.msgpack.Decoder(GaugeChange)


def encode_gauge(change: GaugeChange) -> bytes:
    """The change as it goes into the stream; what the script decides is not in it yet."""
    return msgspec.msgpack.encode(change)


def decode_gauge(content: bytes, expires_at: int | None) -> GaugeChange:
    """The change behind what stands in the stream, with what the script decided.

    Raises msgspec.MsgspecError, or ValueError for what fits no table: one such entry would hold up its partition.
    """
    change: GaugeChange = _decoder.decode(content)
    if "\0" in change.feature_key + change.holder or not 0 < len(change.holder) <= MAX_HOLDER_LENGTH:
        raise ValueError("feature or holder are no names")
    if isinstance(change, GaugeReleased):
        return change
    if not (0 < change.units <= MAX_HELD_UNITS and (expires_at is None or 0 <= expires_at <= NEVER_AT)):
        raise ValueError("units or time are out of bounds")
    return msgspec.structs.replace(change, expires_at=expires_at)


def encode_holds(holds: Sequence[Hold]) -> bytes:
    """What load.lua installs; empty where nothing is held."""
    return msgspec.msgpack.encode(holds) if holds else b""
