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
    Flush,
    Forget,
    Grant,
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


def void_event(random: Random, cast: Cast) -> Action:
    """A void of usage; now and then of what never was."""
    order = cast.new("void")
    if not cast.used or random.random() < 0.05:
        return VoidEvent(random.choice(cast.names), order, NOTHING)
    target = recent(random, cast.used)
    return VoidEvent(target.who, order, target.key)


def void_block(random: Random, cast: Cast) -> Action:
    """A void of a grant; now and then of a refund, or of what never was."""
    order, allow_debt = cast.new("void"), random.random() < 0.5
    if not cast.granted or random.random() < 0.05:
        return VoidBlock(random.choice(cast.names), order, NOTHING, allow_debt)
    if cast.ordered and random.random() < 0.2:
        refunding = recent(random, cast.ordered)
        return VoidBlock(refunding.who, order, f"refund by {refunding.order}", allow_debt)
    target = recent(random, cast.granted)
    return VoidBlock(target.who, order, target.name, allow_debt)


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
    void_event: 8,
    void_block: 6,
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
