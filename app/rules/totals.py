"""Running totals as sequence numbers.

`accepted` and `applied` only ever matter by their difference, so Redis keeps them modulo 2^52, where a double still
counts exactly, and their difference is read as a signed distance. (RFC 1982 does the same for DNS serials.)
"""

MODULUS = 2**52
MAX_DISTANCE = 2**50
"""Beyond this much accepted and not yet applied nothing more is taken in: 503 `backlog`."""


def wrap(total_micro: int) -> int:
    """The total as Redis keeps it."""
    return total_micro % MODULUS


def distance(accepted_micro: int, applied_micro: int) -> int:
    """Signed distance accepted - applied of two wrapped totals, in micro-credits."""
    difference = (accepted_micro - applied_micro) % MODULUS
    return difference - MODULUS if difference >= MODULUS // 2 else difference


def available(base_micro: int, accepted_micro: int, applied_micro: int) -> int:
    """What can be spent now: base - (accepted - applied)."""
    return base_micro - distance(accepted_micro, applied_micro)
