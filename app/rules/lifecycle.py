"""What may become of a subscription: state and action say the next state, in one table, and nothing else does.

An action is what a client asks for, or what time brings. Where time has a choice (paid or not, with a trial or not),
each outcome is an action of its own, so that the table has one answer to everything; which one it is follows from the
subscription (app/rules/agenda.py). docs/subscriptions.md shows the table as a picture, written by `diagram`.
"""

from collections.abc import Mapping
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a subscription stands. The last two are terminal."""

    SCHEDULED = "scheduled"
    """It starts at a later moment."""
    TRIALING = "trialing"
    ACTIVE = "active"
    PAUSED = "paused"
    """Its clock stands still."""
    OVERDUE = "overdue"
    """Its period is over, and the next one is not paid for."""
    CANCELED = "canceled"
    EXPIRED = "expired"
    """It was overdue for longer than its grace."""


class Action(StrEnum):
    """What moves a subscription: first what clients do, then what time does."""

    RENEW = "renew"
    """The next period is paid for."""
    CHANGE = "change"
    """To another variant or version, at once."""
    SCHEDULE_CHANGE = "schedule_change"
    """To another variant or version, when the period ends."""
    UNSCHEDULE = "unschedule"
    """What was to happen when the period ends, a change or a cancellation, is not to happen."""
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    """At once."""
    CANCEL_AT_PERIOD_END = "cancel_at_period_end"

    START = "start"
    START_TRIAL = "start_trial"
    CONVERT = "convert"
    """A trial ends, and the first period begins."""
    TURN = "turn"
    """A period ends, and the next one begins."""
    FALL_OVERDUE = "fall_overdue"
    """A period or a trial ends, and the next period is not paid for."""
    END = "end"
    """The period ends at whose end the subscription was to be canceled."""
    EXPIRE = "expire"
    """The grace is over."""


BY_TIME: Final = frozenset(
    {
        Action.START,
        Action.START_TRIAL,
        Action.CONVERT,
        Action.TURN,
        Action.FALL_OVERDUE,
        Action.END,
        Action.EXPIRE,
    }
)
"""What no client can ask for."""

TERMINAL: Final = frozenset({State.CANCELED, State.EXPIRED})

TABLE: Final[Mapping[State, Mapping[Action, State]]] = MappingProxyType(
    {
        State.SCHEDULED: {
            Action.START_TRIAL: State.TRIALING,
            Action.START: State.ACTIVE,
            Action.CANCEL: State.CANCELED,
        },
        State.TRIALING: {
            Action.RENEW: State.TRIALING,
            Action.CHANGE: State.TRIALING,
            Action.SCHEDULE_CHANGE: State.TRIALING,
            Action.UNSCHEDULE: State.TRIALING,
            Action.CANCEL_AT_PERIOD_END: State.TRIALING,
            Action.CONVERT: State.ACTIVE,
            Action.FALL_OVERDUE: State.OVERDUE,
            Action.CANCEL: State.CANCELED,
            Action.END: State.CANCELED,
        },
        State.ACTIVE: {
            Action.RENEW: State.ACTIVE,
            Action.CHANGE: State.ACTIVE,
            Action.SCHEDULE_CHANGE: State.ACTIVE,
            Action.UNSCHEDULE: State.ACTIVE,
            Action.CANCEL_AT_PERIOD_END: State.ACTIVE,
            Action.TURN: State.ACTIVE,
            Action.PAUSE: State.PAUSED,
            Action.FALL_OVERDUE: State.OVERDUE,
            Action.CANCEL: State.CANCELED,
            Action.END: State.CANCELED,
        },
        State.PAUSED: {
            Action.UNSCHEDULE: State.PAUSED,
            Action.RESUME: State.ACTIVE,
            Action.CANCEL: State.CANCELED,
        },
        State.OVERDUE: {
            Action.UNSCHEDULE: State.OVERDUE,
            Action.RENEW: State.ACTIVE,
            Action.CANCEL: State.CANCELED,
            Action.EXPIRE: State.EXPIRED,
        },
        State.CANCELED: {},
        State.EXPIRED: {},
    }
)


class IllegalMove(ValueError):
    """The state does not know the action. Says which state it is, and what a client may do in it."""

    def __init__(self, state: State, action: Action) -> None:
        self.state = state
        self.action = action
        self.legal = legal_actions(state)
        possible = ", ".join(self.legal) or "nothing more"
        super().__init__(f"{action} is not possible while the subscription is {state}; possible: {possible}")


def legal_actions(state: State) -> tuple[Action, ...]:
    """What a client may do in a state, in the order of `Action`."""
    return tuple(action for action in Action if action in TABLE[state] and action not in BY_TIME)


def move(state: State, action: Action) -> State:
    """The state that follows. Raises IllegalMove."""
    try:
        return TABLE[state][action]
    except KeyError:
        raise IllegalMove(state, action) from None


def diagram() -> str:
    """The table as a Mermaid state diagram: one arrow for each pair of states, with the actions that lead along it."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.SCHEDULED}"]
    for state, moves in TABLE.items():
        # The table keeps the moves to one state together.
        for following, pairs in groupby(moves.items(), key=lambda pair: pair[1]):
            lines.append(f"    {state} --> {following}: {', '.join(action for action, _ in pairs)}")
        if state in TERMINAL:
            lines.append(f"    {state} --> [*]")
    return "\n".join([*lines, ""])
