"""An API platform: batches of a few big customers, repeated whole and in single events; and spending that is enforced.

The spending is that of a small customer of each user's own, so that it is known of every event whether it is accepted.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from loadtests.load.book import Event
from loadtests.load.judging import (
    MICRO,
    Answer,
    Wrong,
    judge_repeated_results,
    judge_results,
    judge_single,
    judge_spend,
    read,
    read_results,
    to_micro,
)
from loadtests.load.plan import API_CALLS, BIG_CUSTOMERS, PRICES_MICRO
from loadtests.scenarios.script import REPEAT_SHARE, Call, Customer, Script

SPEND_SHARE = 0.5
LEAST_EVENTS, MOST_EVENTS = 20, 100
"""Of a batch."""
MOST_UNITS = 10_000
SPENT_UNITS = range(1_000, 51_000, 1_000)
"""Whole credits: now and then a spend costs exactly what is left."""
TOP_UP_CREDITS = 500
BATCH = "/v1/usage/batch"


class ApiPlatform(Script):
    """Batches and spending in turn."""

    def compose(self) -> None:
        """A batch of somebody big, or a spend of one's own small customer."""
        if self.own is None:
            self.sign_up()
        elif self.randomness.random() < SPEND_SHARE:
            self.spend(self.own)
        else:
            self.send_batch()

    def sign_up(self) -> None:
        """Make a customer of one's own, who has nothing yet."""
        customer = Customer(self.next_name())

        def judge(answer: Answer) -> None:
            read(answer, HTTPStatus.CREATED)
            customer.balance_micro = 0
            self.own = customer

        self.add(self.make("/v1/customers", {"end_user_id": customer.end_user_id}, judge))

    def spend(self, customer: Customer) -> None:
        """Spend with `enforce`; after a refusal, top up."""
        units = self.randomness.choice(SPENT_UNITS)
        event = Event(customer.end_user_id, self.plan.feature(API_CALLS), self.next_name(), units, enforce=True)
        cost_micro = units * PRICES_MICRO[API_CALLS]

        def judge(answer: Answer) -> None:
            before_micro = customer.balance_micro or 0
            is_accepted = judge_spend(answer, cost_micro, before_micro)
            self.book.decide(event, is_accepted=is_accepted)
            if is_accepted:
                customer.balance_micro = before_micro - cost_micro
            else:
                self.top_up(customer)

        self.add(self.post_event(event, judge))

    def top_up(self, customer: Customer) -> None:
        """Grant credit; the answer has the new balance, unless what it is asked of is not there."""

        def judge(answer: Answer) -> None:
            expected_micro = (customer.balance_micro or 0) + TOP_UP_CREDITS * MICRO
            found = read(answer, HTTPStatus.CREATED)["balance"]
            if found is None and not self.plan.expects_interruptions:
                raise Wrong("the balance after a grant is not known")
            if found is not None and to_micro(found) != expected_micro:
                raise Wrong(f"the balance after a grant is {found}, not {expected_micro} millionths")
            customer.balance_micro = expected_micro

        body = {"end_user_id": customer.end_user_id, "amount": TOP_UP_CREDITS, "source": "topup"}
        self.add(self.make("/v1/credits/grants", body, judge))

    def send_batch(self) -> None:
        """Many events of one big customer."""
        end_user_id = self.plan.big_customer(self.choose(BIG_CUSTOMERS))
        name, feature_key = self.next_name(), self.plan.feature(API_CALLS)
        count = self.randomness.randint(LEAST_EVENTS, MOST_EVENTS)
        units = [self.randomness.randint(1, MOST_UNITS) for _ in range(count)]
        self.add(self.batch([Event(end_user_id, feature_key, f"{name}:{index}", n) for index, n in enumerate(units)]))

    def batch(self, events: Sequence[Event]) -> Call:
        """A batch, of which what could not be taken in at this moment is sent again."""

        def judge(answer: Answer) -> None:
            pairs = list(zip(events, read_results(answer, len(events)), strict=True))
            later = [event for event, result in pairs if self.is_passing(result)]
            decided = [(event, result) for event, result in pairs if not self.is_passing(result)]
            costs_micro = [event.units * PRICES_MICRO[API_CALLS] for event, _ in decided]
            judge_results([result for _, result in decided], costs_micro)
            for event, _ in decided:
                self.book.decide(event, is_accepted=True)
            if later:
                self.add(self.batch(later))
            self.repeat_some(decided)

        return self.post_batch(events, judge)

    def is_passing(self, result: dict[str, Any]) -> bool:
        """Whether an event may be accepted a moment later; nothing is expected to be so while all processes live."""
        return self.plan.expects_interruptions and result["code"] in self.plan.passing_codes

    def repeat_some(self, decided: Sequence[tuple[Event, dict[str, Any]]]) -> None:
        """Now and then, all that was accepted goes out again; now and then, one event of it by itself."""
        if not decided:
            return
        events, results = zip(*decided, strict=True)
        if self.randomness.random() < REPEAT_SHARE:
            self.add(self.repeat(events, results))
        if self.randomness.random() < REPEAT_SHARE:
            event, result = self.randomness.choice(decided)
            self.add(self.post_event(event, lambda again: judge_single(again, result)))

    def repeat(self, events: Sequence[Event], results: Sequence[dict[str, Any]]) -> Call:
        """A whole batch again, until everything of it is answered."""

        def judge(answer: Answer) -> None:
            again = read_results(answer, len(events))
            if any(self.is_passing(result) for result in again):
                self.add(self.repeat(events, results))
            else:
                judge_repeated_results(again, results)

        return self.post_batch(events, judge)

    def post_batch(self, events: Sequence[Event], judge: Callable[[Answer], None]) -> Call:
        """The call for a batch."""
        body = {"events": [event.body() for event in events]}
        return Call("POST", BATCH, self.plan.edge_url + BATCH, judge, body, events=events)


SCRIPTS = {ApiPlatform: 1}
