"""Random steps: for each kind a function that makes one up, from chance and from what the program did before.

To add a kind: its action in `actions.py`, a function here, and its line in STEPS with its weight.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from tests.ledger_model.actions import (
    NOTHING,
    Action,
    EndHold,
    ExtendHold,
    Flush,
    Forget,
    ForgetHold,
    Grant,
    Hold,
    KillEdge,
    Start,
    Stop,
    Sweep,
    Take,
    Use,
    VoidBlock,
    VoidEvent,
    Wait,
)

FEATURES = ("calls", "images")
NAMES = ("ada", "bob", "eve")


@dataclass
class Cast:
    """Who and what a program has spoken of so far."""

    names: tuple[str, ...] = NAMES
    used: list[Use] = field(default_factory=list)
    granted: list[Grant] = field(default_factory=list)
    held: list[Hold] = field(default_factory=list)
    ended: list[EndHold] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)
    """Keys of reservations that the edge has forgotten, until they are ended anew."""
    ordered: list[VoidEvent | VoidBlock | Take] = field(default_factory=list)
    is_up: bool = True
    count: int = 0

    def new(self, letter: str) -> str:
        """A name that nothing has yet."""
        self.count += 1
        return f"{letter}{self.count}"

    def note(self, action: Action) -> None:
        """The action was taken."""
        match action:
            case Use():
                self.used.append(action)
            case Grant():
                self.granted.append(action)
            case Hold():
                self.held.append(action)
                self.ended = [ended for ended in self.ended if ended.key not in {action.key} & self.forgotten]
                self.forgotten.discard(action.key)
            case ForgetHold():
                self.forgotten.add(action.key)
            case EndHold() if action.verb != "expired":
                self.ended.append(action)
            case VoidEvent() | VoidBlock() | Take():
                self.ordered.append(action)
            case Stop() | Start():
                self.is_up = isinstance(action, Start)
            case _:
                pass


RECENT = 6
Thing = TypeVar("Thing")


def recent(random: Random, things: list[Thing]) -> Thing:
    """One of them, sooner one of the last."""
    return random.choice(things[-RECENT:] if random.random() < 0.7 else things)


Step = Callable[[Random, Cast], Action]


def use(random: Random, cast: Cast) -> Action:
    """Usage under a new key."""
    cost = random.choice([0, random.randint(1, 9), random.randint(1, 60)])
    who, feature = random.choice(cast.names), random.choice(FEATURES)
    return Use(who, cast.new("use"), feature, cost, enforce=random.random() < 0.5)


def repeat(random: Random, cast: Cast) -> Action:
    """The same usage once more."""
    return recent(random, cast.used) if cast.used else use(random, cast)


def forget(random: Random, cast: Cast) -> Action:
    """The edge forgets a key."""
    if not cast.used:
        return use(random, cast)
    used = recent(random, cast.used)
    return Forget(used.who, used.key)


def grant(random: Random, cast: Cast) -> Action:
    """Credit, most of it not for ever."""
    return Grant(
        random.choice(cast.names),
        cast.new("grant"),
        random.randint(1, 60),
        random.choice([50, 100, 100]),
        is_paid=random.random() < 0.3,
        lives=random.choice([None, random.randint(2, 12), random.randint(10, 40)]),
        is_published=random.random() < 0.7,
    )


def hold(random: Random, cast: Cast) -> Action:
    """Credit is reserved."""
    cost, lasts = random.choice([0, random.randint(1, 9), random.randint(1, 60)]), random.randint(2, 40)
    who, feature = random.choice(cast.names), random.choice(FEATURES)
    return Hold(who, cast.new("hold"), feature, cost, lasts, enforce=random.random() < 0.5)


def open_hold(random: Random, cast: Cast) -> Hold:
    """A reservation, sooner one that nobody has ended."""
    ended = {action.key for action in cast.ended}
    still_open = [held for held in cast.held if held.key not in ended]
    return random.choice(still_open) if still_open and random.random() < 0.7 else recent(random, cast.held)


def hold_again(random: Random, cast: Cast) -> Action:
    """The same reservation once more, sooner one that the edge has forgotten."""
    forgotten = [held for held in cast.held if held.key in cast.forgotten]
    if forgotten and random.random() < 0.7:
        return random.choice(forgotten)
    return recent(random, cast.held) if cast.held else hold(random, cast)


def commit(random: Random, cast: Cast) -> Action:
    """A commit of less, of as much, or of more; now and then of what never was."""
    if not cast.held or random.random() < 0.03:
        return EndHold(random.choice(cast.names), f"hold {NOTHING}", "committed", 5)
    held = open_hold(random, cast)
    used = random.choice([held.cost, random.randint(0, held.cost), random.randint(0, 2 * held.cost + 3)])
    return EndHold(held.who, held.key, "committed", used)


def release(random: Random, cast: Cast) -> Action:
    """A release."""
    if not cast.held:
        return hold(random, cast)
    held = open_hold(random, cast)
    return EndHold(held.who, held.key, "released")


def expire(random: Random, cast: Cast) -> Action:
    """The sweep comes by."""
    if not cast.held:
        return hold(random, cast)
    held = recent(random, cast.held)
    return EndHold(held.who, held.key, "expired")


def end_again(random: Random, cast: Cast) -> Action:
    """An end that was asked for before."""
    return recent(random, cast.ended) if cast.ended else commit(random, cast)


def extend(random: Random, cast: Cast) -> Action:
    """A reservation is to be open longer."""
    if not cast.held:
        return hold(random, cast)
    held = recent(random, cast.held)
    return ExtendHold(held.who, held.key, random.randint(1, 40))


def forget_hold(random: Random, cast: Cast) -> Action:
    """The edge forgets a reservation."""
    if not cast.held:
        return hold(random, cast)
    held = recent(random, cast.held)
    return ForgetHold(held.who, held.key)


def void_event(random: Random, cast: Cast) -> Action:
    """A void of usage; now and then of what never was."""
    order = cast.new("void")
    if not cast.used or random.random() < 0.05:
        return VoidEvent(random.choice(cast.names), order, NOTHING)
    target = recent(random, cast.used)
    if cast.ended and random.random() < 0.4:
        committed = recent(random, cast.ended)
        return VoidEvent(committed.who, order, committed.key)
    return VoidEvent(target.who, order, target.key)


def void_block(random: Random, cast: Cast) -> Action:
    """A void of a grant; now and then of a refund, or of what never was."""
    order, allow_debt = cast.new("void"), random.random() < 0.5
    if not cast.granted or random.random() < 0.05:
        return VoidBlock(random.choice(cast.names), order, NOTHING, allow_debt)
    if cast.ordered and random.random() < 0.2:
        refunding = recent(random, cast.ordered)
        return VoidBlock(refunding.who, order, f"refund by {refunding.order}", allow_debt)
    if cast.ended and random.random() < 0.05:
        returning = recent(random, cast.ended)
        return VoidBlock(returning.who, order, f"refund by {returning.key}", allow_debt)
    target = recent(random, cast.granted)
    return VoidBlock(target.who, order, target.name, allow_debt)


def void_what_is_reserved(random: Random, cast: Cast) -> Action:
    """A void of a grant from which a reservation may have drawn."""
    ended = {action.key for action in cast.ended}
    holders = [held.who for held in cast.held if held.key not in ended]
    grants = [granted for granted in cast.granted if granted.who in holders]
    if not grants:
        return hold(random, cast)
    target = recent(random, grants)
    return VoidBlock(target.who, cast.new("void"), target.name, allow_debt=True)


def take(random: Random, cast: Cast) -> Action:
    """Credit is taken."""
    amount = random.choice([random.randint(1, 9), random.randint(1, 60)])
    return Take(random.choice(cast.names), cast.new("take"), amount, allow_debt=random.random() < 0.5)


def order_again(random: Random, cast: Cast) -> Action:
    """An order that was given before."""
    return recent(random, cast.ordered) if cast.ordered else take(random, cast)


def wait(random: Random, _: Cast) -> Action:
    """Time passes, a little or over boundaries."""
    return Wait(random.choice([random.randint(1, 4), random.randint(5, 30)]))


def sweep(random: Random, cast: Cast) -> Action:
    """Jobs look after a customer."""
    return Sweep(random.choice(cast.names))


def flush(random: Random, _: Cast) -> Action:
    """A turn of the flusher; now and then its last."""
    size, most = random.choice([1, 2, 3, 7, 1_000]), random.choice([1_000, 1_000, random.randint(1, 4)])
    return Flush(size, most, publishes=random.random() < 0.8)


def stop_or_start(random: Random, cast: Cast) -> Action:
    """The flusher stops, in good order or not, or starts again."""
    return Stop(random.choice(["stop", "kill"])) if cast.is_up else Start(random.choice([1, 2, 3, 7, 1_000]))


def kill_edge(_: Random, __: Cast) -> Action:
    """The edge dies."""
    return KillEdge()


def rest(_: Random, __: Cast) -> Action:
    """Nothing happens: what Hypothesis makes of steps that a failure does not need."""
    return Wait(0)


STEPS: dict[Step, int] = {
    rest: 1,
    use: 30,
    grant: 12,
    wait: 10,
    flush: 8,
    hold: 14,
    commit: 14,
    release: 9,
    expire: 4,
    extend: 2,
    end_again: 3,
    hold_again: 4,
    forget_hold: 4,
    void_event: 8,
    void_block: 6,
    void_what_is_reserved: 6,
    take: 5,
    repeat: 4,
    stop_or_start: 3,
    forget: 3,
    sweep: 2,
    order_again: 2,
    kill_edge: 1,
}
"""What a program consists of, with weights."""


def make_up(random: Random, cast: Cast, steps: dict[Step, int]) -> Action:
    """The next step of a program."""
    step = random.choices([*steps], [*steps.values()])[0]
    return step(random, cast)
