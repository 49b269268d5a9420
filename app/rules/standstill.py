"""Where credit is that is tied to a subscription's time, after the times in which that stood still.

A pause takes what is left of a block out of the balance; the end of it makes another block of that, with the time that
was left. So what comes back to a block later finds it elsewhere: set aside, or gone on into another one.

What rolls over into a period that is not paid for is no such case. It is set aside in the very moment in which it has
rolled over, so nothing was drawn from it that could come back, and with the payment it is in its own block again. But
what rolls over later can be used while the payment is waited for; where that never comes, all of it is lost.
"""

import msgspec
from msgspec.structs import replace

from app.rules.burndown import ROLLOVER, Block
from app.rules.moments import NEVER_AT


class Standstill(msgspec.Struct, frozen=True):
    """A time in which a subscription stood still. `until_at` None = it still does."""

    since_at: int
    until_at: int | None = None


class Course(msgspec.Struct, frozen=True):
    """What became of a subscription's time, as far as it matters to credit that is tied to it."""

    standstills: tuple[Standstill, ...] = ()
    """In their order."""
    lost_from_at: int | None = None
    """It has ended without the payment that it waited for since then: what rolled over from there on is lost."""

    def stopped(self, at: int) -> "Course":
        """It stands still from there on."""
        return replace(self, standstills=(*self.standstills, Standstill(at)))

    def resumed(self, since_at: int, at: int) -> "Course":
        """What has stood still since then goes on."""
        over = [each for each in self.standstills if each.until_at is not None]
        return replace(self, standstills=(*over, Standstill(since_at, at)))

    def lost(self, since_at: int) -> "Course":
        """What has waited for a payment since then waits no more."""
        return replace(self, lost_from_at=since_at)


NO_STANDSTILL = Course()


class Place(msgspec.Struct, frozen=True):
    """Where a block's credit is now. Neither moved nor set aside nor lost = in the block itself."""

    by_microseconds: int = 0
    """So much later than the block it expires."""
    moved_at: int | None = None
    """When it has gone on as another block, for the last time; None = it has not."""
    is_aside: bool = False
    """It is set aside."""
    is_lost: bool = False
    """It has expired before its time."""

    def is_over(self, block: Block, at: int) -> bool:
        """Whether the block has had its time, which does not pass while it is set aside."""
        return self.is_lost or (not self.is_aside and block.expires_at + self.by_microseconds <= at)


def place_of(block: Block, course: Course) -> Place:
    """Where credit of the block is now; `course` is that of the subscription to whose time it is tied."""
    since_at = course.lost_from_at
    if since_at is not None and block.source == ROLLOVER and block.effective_at >= since_at:
        return Place(is_lost=True)
    by_microseconds, moved_at = 0, None
    for still in course.standstills:
        if not block.effective_at <= still.since_at < block.expires_at + by_microseconds:
            continue
        if still.until_at is None:
            return Place(by_microseconds, moved_at, is_aside=True)
        by_microseconds, moved_at = by_microseconds + still.until_at - still.since_at, still.until_at
    return Place(by_microseconds, moved_at)


def moved_block(block: Block, by_microseconds: int) -> Block:
    """The block with all that is to become of it so much later."""
    terms = block.terms
    if terms is not None and terms.rollover is not None:
        until_at = min(terms.rollover.expires_at + by_microseconds, NEVER_AT)
        terms = replace(terms, rollover=replace(terms.rollover, expires_at=until_at))
    return replace(block, expires_at=min(block.expires_at + by_microseconds, NEVER_AT), terms=terms)
