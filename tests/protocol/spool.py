"""Edges with their spools: what cannot be decided on now waits on disk, each customer's in order.

An edge that dies leaves its files; others take them over, one file at a time, and begin with the first event of each
file, since what was struck off was struck off in memory only. They read on as they drain. Two edges have no order
between them, nor has an edge any to what it has not read yet.
"""

import itertools
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from tests.protocol import edge_side, processes
from tests.protocol.edge_side import REFUSED, TAKEN
from tests.protocol.processes import Steps
from tests.protocol.violation import check
from tests.protocol.world import World, name_of

FILE_EVENTS = 3
"""As many events fill a file."""
AT_ONCE = 2
"""Of one customer, once the first has found nothing in its way: only among these may one come before another."""
UNREACHABLE, UNKNOWN = 0.05, 0.05
"""How often Redis cannot be asked, and how often its answer does not come."""


class SpooledUsage(NamedTuple):
    """What a record says."""

    ref: bytes
    event_id: UUID


class Place(NamedTuple):
    """Where one stands, in the order in which the edge came by them."""

    number: int
    file: "SpoolFile"
    usage: SpooledUsage


@dataclass
class SpoolFile:
    """It goes when nothing of it is left to take in."""

    events: list[SpooledUsage] = field(default_factory=list)
    owner: "Edge | None" = None
    left: int = 0


class Edge:
    """One worker."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._current: SpoolFile | None = None
        self.waiting: dict[bytes, list[Place]] = {}
        """What each customer has in the spool."""
        self._unread: list[tuple[SpoolFile, SpooledUsage]] = []
        """What it has taken over and not come by yet."""
        self._numbers = itertools.count()
        self._widths: dict[bytes, int] = {}
        self._taken: set[UUID] = set()
        """Events that Redis has, and that are not struck off yet."""
        self._draining = self._drain()

    # ---- requests

    def use(self, event: UUID, *, enforce: bool) -> bytes:
        """A client sends usage; the kind of answer: 'spooled', 'unavailable', or the script's."""
        world, random = self._world, self._world.random
        ref = world.asked[event][0]
        if ref in self.waiting and "joins" not in world.without:
            return self._keep(event, enforce=enforce)
        if random.random() < UNREACHABLE:
            return self._keep(event, enforce=enforce)
        answer = self._ask(event, self.waiting.get(ref, []), enforce=enforce)
        if random.random() < UNKNOWN:
            return self._keep(event, enforce=enforce)
        if answer[0] == b"ok" and answer[1].startswith(b"+") and event not in world.damaged:
            world.acknowledged.add(event)
        return answer[0]

    def _keep(self, event: UUID, *, enforce: bool) -> bytes:
        """Spool it; what is to be enforced is decided now or not at all."""
        if enforce:
            return b"unavailable"
        world = self._world
        if self._current is None or len(self._current.events) >= FILE_EVENTS:
            self._current = SpoolFile(owner=self)
            world.disk.append(self._current)
        usage = SpooledUsage(world.asked[event][0], event)
        self._current.events.append(usage)
        self._current.left += 1
        self._add(self._current, usage)
        world.say(f"spooled {name_of(usage.ref)} {event.hex[-4:]}")
        if event not in world.damaged:
            world.acknowledged.add(event)
        return b"spooled"

    def _add(self, file: SpoolFile, usage: SpooledUsage) -> None:
        self.waiting.setdefault(usage.ref, []).append(Place(next(self._numbers), file, usage))

    def _ask(self, event: UUID, before: list[Place], *, enforce: bool) -> list[bytes]:
        """Run the script; what is in the stream by it for the first time comes after what was `before` it."""
        world, is_new = self._world, event not in self._world.appeared
        waiting = [place.usage.event_id for place in before]
        answer = edge_side.use(world, event, enforce=enforce)
        missing = [other.hex[-4:] for other in waiting if other not in world.appeared]
        check(not (is_new and event in world.appeared and missing), "out of order", missing)
        return answer

    def promised(self) -> set[UUID]:
        """What it has still to take in."""
        waiting = {place.usage.event_id for places in self.waiting.values() for place in places}
        return {usage.event_id for _, usage in self._unread} | waiting - self._taken

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to take in."""
        return not self.waiting and not self._unread

    # ---- draining

    def advance(self, steps: int) -> None:
        """Go on taking in what is spooled."""
        for _ in range(steps):
            next(self._draining)

    def die(self) -> None:
        """The process ends; its files stay."""
        for file in self._world.disk:
            if file.owner is self:
                file.owner = None

    def adopt(self) -> None:
        """Take over one file that nobody holds, the oldest."""
        world = self._world
        left = [file for file in world.disk if file.owner is None and "adopted" not in world.without]
        for file in left[:1]:
            file.owner, file.left = self, len(file.events)
            self._unread += [(file, usage) for usage in file.events]
            world.say(f"adopted {[usage.event_id.hex[-4:] for usage in file.events]}")

    def _drain(self) -> Steps:
        world = self._world
        while True:
            yield
            if self._unread:
                self._add(*self._unread.pop(0))
            if not self.waiting:
                continue
            ref = world.random.choice(list(self.waiting))
            if "in order" in world.without:
                world.random.shuffle(self.waiting[ref])
            width = self._widths.get(ref, 1)
            turn, done = self.waiting[ref][:width], list[bool]()
            for place in turn:
                if "struck" in world.without:
                    self._settle(ref, [True])
                done.append((yield from self._take_in(place)))
                yield
            if "struck" not in world.without:
                self._settle(ref, done)
            if ref in self.waiting:
                self._widths[ref] = AT_ONCE if all(done) else 1

    def _take_in(self, place: Place) -> Generator[None, None, bool]:
        """Whether it is done with; else it is to be tried again."""
        world, ref, event = self._world, place.usage.ref, place.usage.event_id
        before = sorted((other for other in self.waiting.get(ref, ()) if other.number < place.number), key=_number)
        if "same id" in world.without:
            event = world.new_id()
            world.asked[event] = ref, 1
        answer = self._ask(event, before[: 1 - AT_ONCE], enforce=False)
        if answer == REFUSED:
            yield
            if "listed" not in world.without:
                edge_side.reject(world, event)
        elif answer[0] == b"miss":
            yield from processes.load(world, ref)
        is_done = answer[0] in {*TAKEN, *REFUSED} and world.random.random() >= UNKNOWN
        self._taken |= {event} if is_done else set()
        return is_done

    def _settle(self, ref: bytes, done: list[bool]) -> None:
        """Strike off what is done with."""
        world, waiting = self._world, self.waiting[ref]
        self._taken.clear()
        turn = waiting[: len(done)]
        left = [place for place, is_done in zip(turn, done, strict=True) if not is_done]
        self.waiting[ref] = [*left, *waiting[len(done) :]]
        for file in [place.file for place, is_done in zip(turn, done, strict=True) if is_done]:
            file.left -= 1
            if not file.left:
                world.disk.remove(file)
                self._current = None if file is self._current else self._current
        if not self.waiting[ref]:
            del self.waiting[ref]
            self._widths.pop(ref, None)


def _number(place: Place) -> int:
    return place.number
