"""What one user of a scenario does: calls in their order, each with what has to come back."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple
from urllib.parse import urlencode

from loadtests.load.book import Book, Contradiction, Event
from loadtests.load.choosing import heavy_tail
from loadtests.load.judging import (
    MAX_SHOWN,
    Answer,
    Wrong,
    judge_check,
    judge_commit,
    judge_opening,
    judge_repeat,
    judge_usage,
)
from loadtests.load.plan import PRICES_MICRO, Plan

CHECK, USAGE, RESERVATIONS = "/v1/entitlements/check", "/v1/usage", "/v1/reservations"
COMMIT = f"{RESERVATIONS}/{{id}}/commit"
"""As it stands in the statistics."""
REPEAT_SHARE = 0.05
"""Of what is sent, and then sent again although it was answered."""
UNREADABLE = (KeyError, TypeError, ValueError, ArithmeticError)
"""What a judge meets in a body of another form."""


class Call(NamedTuple):
    """One request; `route` is its name in the statistics, `judge` raises Wrong."""

    method: str
    route: str
    url: str
    judge: Callable[[Answer], None]
    body: object = None
    idempotency_key: str | None = None
    """Of the head; usage has its own in the body."""
    events: Sequence[Event] = ()
    """The usage in the body."""


@dataclass
class Customer:
    """Somebody who uses things. The balance is known where nobody else acts for them."""

    end_user_id: str
    balance_micro: int | None = None


class Script(ABC):
    """One user, who makes one call at a time. A call that was not answered is the next one again, under its key."""

    def __init__(self, plan: Plan, book: Book, name: str, randomness: Random) -> None:
        self.plan = plan
        self.book = book
        self.randomness = randomness
        self._name = name
        self._number = 0
        self._queue: deque[Call] = deque()
        self.own: Customer | None = None

    @property
    def is_between(self) -> bool:
        """Whether nothing waits: a good moment for a pause."""
        return not self._queue

    def next_call(self) -> Call:
        """The call that is to be made now; the same one until it is answered."""
        if not self._queue:
            self.compose()
        for event in self._queue[0].events:
            self.book.send(event)
        return self._queue[0]

    def settle(self, answer: Answer) -> None:
        """Take the answer to the last call. Raises Wrong, and begins anew with a customer of whom all is known."""
        try:
            self._queue[0].judge(answer)
        except (Wrong, Contradiction, *UNREADABLE) as error:
            self._queue.clear()
            self.own = None
            if isinstance(error, Wrong):
                raise
            raise Wrong(f"{error!r} in {answer.body[:MAX_SHOWN]!r}") from error
        self._queue.popleft()

    @abstractmethod
    def compose(self) -> None:
        """Put into the queue what is done next: at least one call."""

    def add(self, *calls: Call) -> None:
        """Put calls at the end of the queue."""
        self._queue.extend(calls)

    def next_name(self) -> str:
        """A name that nothing else of the run has: for keys and customers."""
        self._number += 1
        return f"{self.plan.run}_{self._name}_{self._number}"

    def choose(self, count: int) -> int:
        """One of so many, the first ones far more often."""
        return heavy_tail(count, self.randomness.random())

    def check(self, customer: Customer, feature: str, units: int) -> Call:
        """May they? They may: every customer who is asked about has enough."""
        asked = {"end_user_id": customer.end_user_id, "feature_key": self.plan.feature(feature), "units": units}
        cost_micro = units * PRICES_MICRO[feature]
        return Call(
            "GET",
            CHECK,
            f"{self.plan.edge_url}{CHECK}?{urlencode(asked)}",
            lambda answer: judge_check(answer, cost_micro, customer.balance_micro),
        )

    def usage(self, customer: Customer, feature: str, units: int, key: str) -> Call:
        """They did, whatever they have; now and then it is sent again after its answer."""
        event = Event(customer.end_user_id, self.plan.feature(feature), key, units)
        cost_micro = units * PRICES_MICRO[feature]

        def judge(answer: Answer) -> None:
            left_micro = None if customer.balance_micro is None else customer.balance_micro - cost_micro
            judge_usage(answer, cost_micro, left_micro)
            customer.balance_micro = left_micro
            self.book.decide(event, is_accepted=True)
            if self.randomness.random() < REPEAT_SHARE:
                self.add(self.post_event(event, lambda again: judge_repeat(again, answer)))

        return self.post_event(event, judge)

    def reserve(self, customer: Customer, feature: str, most_units: int, units: int, key: str) -> Call:
        """They may use so much, and what they used is committed afterwards: the opening, which brings its commit."""
        reserved_micro = most_units * PRICES_MICRO[feature]
        opening = Event(customer.end_user_id, self.plan.feature(feature), key, most_units)

        def judge(answer: Answer) -> None:
            left_micro = None if customer.balance_micro is None else customer.balance_micro - reserved_micro
            reservation_id = judge_opening(answer, reserved_micro, left_micro)
            customer.balance_micro = left_micro
            event = opening._replace(units=units, reservation_id=reservation_id)
            self.add(self.commit(customer, event, reserved_micro, units * PRICES_MICRO[feature]))

        return Call("POST", RESERVATIONS, self.plan.edge_url + RESERVATIONS, judge, opening.body())

    def commit(self, customer: Customer, event: Event, reserved_micro: int, cost_micro: int) -> Call:
        """The end of a reservation; now and then it is sent again after its answer."""

        def judge(answer: Answer) -> None:
            rest_micro = reserved_micro - cost_micro
            left_micro = None if customer.balance_micro is None else customer.balance_micro + rest_micro
            judge_commit(answer, cost_micro, rest_micro, left_micro)
            customer.balance_micro = left_micro
            self.book.decide(event, is_accepted=True)
            if self.randomness.random() < REPEAT_SHARE:
                self.add(self.post_event(event, lambda again: judge_repeat(again, answer)))

        return self.post_event(event, judge)

    def post_event(self, event: Event, judge: Callable[[Answer], None]) -> Call:
        """The call for one event."""
        route = COMMIT if event.reservation_id else USAGE
        return Call("POST", route, self.plan.edge_url + event.path, judge, event.body(), events=(event,))

    def make(self, path: str, body: object, judge: Callable[[Answer], None]) -> Call:
        """A change at core, under a key of its own."""
        return Call("POST", path, self.plan.core_url + path, judge, body, self.next_name())
