"""When a customer's credit becomes low, runs out, or turns into debt.

What a customer holds is looked at after every entry of the stream, and after all that falls due at one moment. Each
state is compared with the one before it, so what is told depends on the entries alone, and not on how they are cut
into batches.
"""

from collections.abc import Iterable, Sequence

import msgspec

from app.rules.burndown import Block

UNBOUNDED_MICRO = 2**63 - 1
_HUNDRED = 100


class Threshold(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where credit is low: at an amount, or at a percentage of what was granted. The other one is None."""

    amount_micro: int | None = None
    percent: int | None = None


class Holding(msgspec.Struct, frozen=True):
    """What a customer holds, as the ledger knows it."""

    total_micro: int
    """What all blocks hold, less the debt. What is reserved is not in it."""
    granted_micro: int
    """What was granted in the blocks of which something is left."""
    debt_micro: int


class Low(msgspec.Struct, frozen=True):
    """Credit is at a threshold, or below it."""

    threshold: Threshold
    level_micro: int
    """Where the threshold lies."""


class Depleted(msgspec.Struct, frozen=True):
    """Nothing is left."""


class Overdrawn(msgspec.Struct, frozen=True):
    """There is debt."""


Crossing = Low | Depleted | Overdrawn


def granted_in(blocks: Iterable[Block]) -> int:
    """What was granted in the blocks of which something is left; what is to be granted yet does not count."""
    return sum([block.granted_micro for block in blocks if block.remaining_micro > 0 and not block.is_scheduled])


def level_of(threshold: Threshold, granted_micro: int) -> int:
    """Where a threshold lies. Rounded down: what is held is a whole number, so nothing lies between."""
    if threshold.percent is not None:
        return granted_micro * threshold.percent // _HUNDRED
    return threshold.amount_micro or 0


def crossings(thresholds: Sequence[Threshold], before: Holding, after: Holding) -> list[Crossing]:
    """What has become true from one state to the next, in the order in which credit that is spent comes by it."""
    lows = [
        Low(threshold, level_of(threshold, after.granted_micro))
        for threshold in thresholds
        if _is_low(threshold, after) and not _is_low(threshold, before)
    ]
    crossed: list[Crossing] = [*sorted(lows, key=_highest_first)]
    if after.total_micro <= 0 < before.total_micro:
        crossed.append(Depleted())
    if before.debt_micro == 0 < after.debt_micro:
        crossed.append(Overdrawn())
    return crossed


def room_micro(thresholds: Sequence[Threshold], holding: Holding) -> int:
    """How much can be spent before a threshold is reached or nothing is left: the first to do either is that much.

    It holds while no block is used up and no debt begins.
    """
    levels = [0, *[level_of(threshold, holding.granted_micro) for threshold in thresholds]]
    below = [level for level in levels if level < holding.total_micro]
    return holding.total_micro - max(below) if below else UNBOUNDED_MICRO


def _is_low(threshold: Threshold, holding: Holding) -> bool:
    return holding.total_micro <= level_of(threshold, holding.granted_micro)


def _highest_first(low: Low) -> tuple[int, int]:
    return -low.level_micro, -(low.threshold.percent or 0)
