"""Where credit is that is tied to a subscription's time, after the times in which that stood still.

A pause takes what is left of a block out of the balance; the end of it makes another block of that, with the time that
was left. So what comes back to a block later finds it elsewhere: set aside, or gone on into another one.
"""

import msgspec
from msgspec.structs import replace

from app.rules.burndown import Block
from app.rules.moments import NEVER_AT


class Standstill(msgspec.Struct, frozen=True):
    """A time in which a subscription stood still. `until_at` None = it still does."""

    since_at: int
    until_at: int | None = None


class Course(msgspec.Struct, frozen=True):
    """What became of a subscription's time, as far as it matters to credit that is tied to it."""

    standstills: tuple[Standstill, ...] = ()
    """In their order."""

    def stopped(self, at: int) -> "Course":
        """It stands still from there on."""
        return replace(self, standstills=(*self.standstills, Standstill(at)))

    def resumed(self, since_at: int, at: int) -> "Course":
        """What has stood still since then goes on."""
        over = [each for each in self.standstills if each.until_at is not None]
        return replace(self, standstills=(*over, Standstill(since_at, at)))


NO_STANDSTILL = Course()


class Place(msgspec.Struct, frozen=True):
    """Where a block's credit is now. Neither moved nor set aside = in the block itself."""

    by_microseconds: int = 0
    """So much later than the block it expires."""
    is_moved: bool = False
    """It has gone on as another block, once or several times."""
    is_aside: bool = False
    """It is set aside."""


def place_of(block: Block, course: Course) -> Place:
    """Where credit of the block is now; `course` is that of the subscription to whose time it is tied."""
    by_microseconds, is_moved = 0, False
    for still in course.standstills:
        if not block.effective_at <= still.since_at < block.expires_at + by_microseconds:
            continue
        if still.until_at is None:
            return Place(by_microseconds, is_moved, is_aside=True)
        by_microseconds, is_moved = by_microseconds + still.until_at - still.since_at, True
    return Place(by_microseconds, is_moved)


def moved_block(block: Block, by_microseconds: int) -> Block:
    """The block with all that is to become of it so much later."""
    terms = block.terms
    if terms is not None and terms.rollover is not None:
        until_at = min(terms.rollover.expires_at + by_microseconds, NEVER_AT)
        terms = replace(terms, rollover=replace(terms.rollover, expires_at=until_at))
    return replace(block, expires_at=min(block.expires_at + by_microseconds, NEVER_AT), terms=terms)
