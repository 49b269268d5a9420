"""What one customer has in a spool."""

from array import array
from collections.abc import Sequence

_MOST_STRUCK = 4096


class Waiting:
    """What one customer has in the spool, and how taking it in goes."""

    __slots__ = ("_first", "_places", "faults", "is_in_turn", "pause_seconds", "ref", "unwritten", "width")

    def __init__(self, ref: bytes) -> None:
        self.ref = ref
        self.unwritten = 0
        """Events on their way to the disk."""
        self.is_in_turn = False
        """Whether it stands in the queue of those that can be drained, is being drained, or is put off for a while."""
        self.width = 1
        """How many are taken to Redis at once."""
        self.pause_seconds = 0.0
        """For how long it is put off; 0 = nothing was in its way."""
        self.faults = 0
        """Times in a row that taking the first one in was a fault of ours."""
        self._places = array("Q")  # numbers of files and offsets; up to `_first` they are struck off
        self._first = 0

    def __len__(self) -> int:
        """How many of its events are on disk."""
        return len(self._places) - self._first

    def add(self, place: int) -> None:
        """One more is on disk."""
        self._places.append(place)

    def first(self, count: int) -> Sequence[int]:
        """The places of its first events."""
        return self._places[self._first : self._first + count]

    def strike(self, done: Sequence[bool]) -> list[int]:
        """Take those of the first events off the list that are `done`; their places."""
        places = self.first(len(done))
        left = [place for place, is_done in zip(places, done, strict=True) if not is_done]
        end = self._first + len(done)
        self._first = end - len(left)
        self._places[self._first : end] = array("Q", left)
        if self._first > _MOST_STRUCK and self._first > len(self):
            del self._places[: self._first]
            self._first = 0
        return [place for place, is_done in zip(places, done, strict=True) if is_done]
