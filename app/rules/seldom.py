"""What is worth doing once in a while for each of many things, however often they come up."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Thing = TypeVar("Thing", bound=Hashable)


class Seldom(Generic[Thing]):
    """Lets each thing through once per `every`; of the `most` that went through last it is known when. Microseconds."""

    def __init__(self, every: int, most: int) -> None:
        self._every = every
        self._most = most
        self._last: OrderedDict[Thing, int] = OrderedDict()

    def is_due(self, thing: Thing, now: int) -> bool:
        """Whether it goes through now; then it does not again for a while."""
        last = self._last.get(thing)
        if last is not None and last <= now < last + self._every:
            return False
        self._last.pop(thing, None)
        if len(self._last) >= self._most:
            self._last.popitem(last=False)
        self._last[thing] = now
        return True
