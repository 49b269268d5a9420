"""How many partitions are a flusher's share: pure. All that are alive reckon the same; the shares make the whole."""

from collections.abc import Sequence
from uuid import UUID


def share_of(owner: UUID, alive: Sequence[UUID], partitions: int) -> int:
    """The share of `owner`, one of those that are `alive` (in an order that is the same for all).

    Two shares differ by one at most. There are none for those at the end where there are more flushers than partitions.
    """
    least, more = divmod(partitions, len(alive))
    return least + (alive.index(owner) < more)
