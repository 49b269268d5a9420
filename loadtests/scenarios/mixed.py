"""Both products at once, and people who look things up at core: credits, ledger, usage."""

from collections.abc import Callable
from urllib.parse import quote, urlencode

from loadtests.load.book import NOTHING
from loadtests.load.judging import Answer, judge_credits, judge_ledger, judge_usage_sum
from loadtests.load.plan import OUTPUT_TOKENS, SHARED_CUSTOMERS
from loadtests.scenarios.api_platform import ApiPlatform
from loadtests.scenarios.chat_app import ChatApp
from loadtests.scenarios.script import Call, Customer

LOOK_SHARE = 0.7
OWN_LOOK_SHARE = 0.5


class Reader(ChatApp):
    """Somebody who mostly looks, at what they did themselves and at what others did."""

    def compose(self) -> None:
        """A look, or something to be seen at the next one."""
        if self.own is None or self.randomness.random() >= LOOK_SHARE:
            super().compose()
        elif self.randomness.random() < OWN_LOOK_SHARE:
            self.look(self.own)
        else:
            self.look(Customer(self.plan.shared_customer(self.choose(SHARED_CUSTOMERS))))

    def look(self, customer: Customer) -> None:
        """All three pages of a customer."""
        path = f"/v1/customers/{quote(customer.end_user_id, safe='')}"
        route = "/v1/customers/{end_user_id}"
        self.add(
            self.get(f"{route}/credits", f"{path}/credits", lambda a: judge_credits(a, customer.balance_micro)),
            self.get(f"{route}/ledger", f"{path}/ledger?limit=50", judge_ledger),
            self.usage_sum(customer),
        )

    def usage_sum(self, customer: Customer) -> Call:
        """Posted usage in total: of one's own customer, never more than was acknowledged."""
        entry = customer.end_user_id, self.plan.feature(OUTPUT_TOKENS)
        asked = {"end_user_id": entry[0], "feature_key": entry[1], "bucket": "total"}

        def judge(answer: Answer) -> None:
            most = self.book.totals.get(entry, NOTHING)
            if customer.balance_micro is None:
                most = self.book.sent.get(entry, NOTHING)
            judge_usage_sum(answer, most.events, most.units)

        return self.get("/v1/usage", f"/v1/usage?{urlencode(asked)}", judge)

    def get(self, route: str, path: str, judge: Callable[[Answer], None]) -> Call:
        """A read of core."""
        return Call("GET", route, self.plan.core_url + path, judge)


SCRIPTS = {ChatApp: 6, ApiPlatform: 2, Reader: 2}
