"""A chat product: a check, a reservation around the streamed answer, and its tokens, under one key for each request.

Many end users, of whom a few write most. A quarter of the requests are of a customer whom only this user acts for:
there every balance is known to the credit.
"""

from http import HTTPStatus

from loadtests.load.judging import MICRO, Answer, read
from loadtests.load.plan import INPUT_TOKENS, MONTHLY_CREDITS, OUTPUT_TOKENS, SHARED_CUSTOMERS
from loadtests.scenarios.script import Customer, Script

OWN_SHARE = 0.25
MOST_TOKENS = 4_000
"""Of each kind in one request."""


class ChatApp(Script):
    """One conversation after the other."""

    def compose(self) -> None:
        """One request of somebody."""
        if self.own is None:
            self.sign_up()
        elif self.randomness.random() < OWN_SHARE:
            self.converse(self.own)
        else:
            self.converse(Customer(self.plan.shared_customer(self.choose(SHARED_CUSTOMERS))))

    def sign_up(self) -> None:
        """Subscribe a customer of one's own, and let them begin."""
        customer = Customer(self.next_name())

        def judge(answer: Answer) -> None:
            read(answer, HTTPStatus.CREATED)
            customer.balance_micro = MONTHLY_CREDITS * MICRO
            self.own = customer

        body = {"end_user_id": customer.end_user_id, "plan_variant_id": self.plan.variant_id}
        self.add(self.make("/v1/subscriptions", body, judge))
        self.converse(customer)

    def converse(self, customer: Customer) -> None:
        """Ask, reserve for the longest answer, record what was read, and commit what was written."""
        key = self.next_name()
        read_tokens, written_tokens = (self.randomness.randint(1, MOST_TOKENS) for _ in range(2))
        self.add(
            self.check(customer, OUTPUT_TOKENS, MOST_TOKENS),
            self.reserve(customer, OUTPUT_TOKENS, MOST_TOKENS, written_tokens, key),
            self.usage(customer, INPUT_TOKENS, read_tokens, key),
        )


SCRIPTS = {ChatApp: 1}
