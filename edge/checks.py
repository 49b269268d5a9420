"""`GET /v1/entitlements/check`: may this customer do this, now? One HMGET, answered from what it brings.

Where the feature's units are counted, its counter is asked for in the same write.
"""

from decimal import Decimal

import msgspec

from app.rules import totals
from app.rules.credits import MAX_COST_MICRO, from_micro
from app.rules.entitlement import OveragePolicy, Reason, refusal_of_credit, refusal_of_limit
from app.rules.moments import to_rfc3339
from app.rules.pricing import cost_micro
from app.wire.codes import Code
from app.wire.snapshot import ACCOUNT_FIELDS
from edge.accounts import Account
from edge.attempt import Attempt, clock_at
from edge.auth import Principal
from edge.decoding import CheckQuestion, read_check
from edge.exchange import Exchange
from edge.plans import Offer
from edge.redis import Reply, pack
from edge.refusals import Refusal
from edge.services import Services

_encoder = msgspec.json.Encoder(decimal_format="number")


class CheckAnswer(msgspec.Struct):
    """The body of a 200. Amounts are JSON numbers; `version` is the account's revision."""

    allowed: bool
    balance: int | Decimal
    feature_key: str
    units: int | Decimal
    cost: int | Decimal = 0
    reserved: int = 0
    reason: Reason | None = None
    overage_policy: OveragePolicy | None = None
    subscription_status: str | None = None
    value: None = None
    limit: int | Decimal | None = None
    used: int | Decimal | None = None
    resets_at: str | None = None
    version: int = 0


def check(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Answer a check. Raises Refusal."""
    question = read_check(exchange.query)
    account = services.accounts.get(principal, question.end_user_id)
    Check(services, account, question, exchange).send()


class Counter(msgspec.Struct, frozen=True):
    """What is used of a feature in the account's present period, in micro-units, and where that ends."""

    used_micro: int
    resets_at: int


class Check(Attempt):
    """One check under way."""

    __slots__ = ("_exchange", "_question")

    def __init__(self, services: Services, account: Account, question: CheckQuestion, exchange: Exchange) -> None:
        super().__init__(services, account)
        self._question = question
        self._exchange = exchange

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def send(self) -> None:
        """Read the account, and the counter where the plan that it is believed to have counts."""
        account = self.account
        plan = self.services.plans.get(account.snapshot_id)
        offer = None if plan is None else plan.get(self._question.feature_key)
        if offer is not None and offer.terms.is_counted:
            reading = _Reading(self)
            self.services.redis.send(pack(b"HMGET", account.key, *ACCOUNT_FIELDS, b"resets_at"), reading)
            self.services.redis.send(pack(b"HGET", account.used_key, self._question.feature_key), reading)
        else:
            self.services.redis.send(account.read_command, self)

    def received(self, reply: Reply) -> None:
        """The account's figures, without a counter."""
        self.answer(reply, None)

    def answer(self, figures: Reply, counter: Counter | None) -> None:
        """Answer from the account's figures, unless it is not loaded or at its boundary."""
        revision, base, applied, accepted, last_at, valid_until, snapshot_id, status, floor = figures
        if revision is None:
            self.overcome(self.load_account())
            return
        if max(clock_at(), int(last_at)) >= int(valid_until):
            self.overcome(self.tick())
            return
        plan = self.services.plans.get(snapshot_id)
        if plan is None:
            self.overcome(self.load_plan(snapshot_id))
            return
        offer = plan.get(self._question.feature_key)
        if offer is not None and offer.terms.is_counted and counter is None:
            self._ask_again(snapshot_id)
            return
        available_micro = totals.available(int(base), int(accepted), int(applied))
        answer = decide(self._question, offer, available_micro, int(floor), counter)
        answer.subscription_status = status.decode()
        answer.version = int(revision)
        self._exchange.respond(200, _encoder.encode(answer))

    def _ask_again(self, snapshot_id: bytes) -> None:
        """The account has another plan than was believed, which counts this feature."""
        self.patience.detour()
        self.account.snapshot_id = snapshot_id
        self.send()

    def refused(self, refusal: Refusal) -> None:
        """A customer whom nobody knows is a no; everything else is no answer."""
        if refusal.code is not Code.UNKNOWN_CUSTOMER:
            self._exchange.refuse(refusal)
            return
        question = self._question
        answer = CheckAnswer(
            allowed=False,
            balance=0,
            feature_key=question.feature_key,
            units=from_micro(question.units_micro),
            reason=Reason.UNKNOWN_CUSTOMER,
        )
        self._exchange.respond(200, _encoder.encode(answer))


class _Reading:
    """Brings a check its account and the counter, by two commands of one write.

    The counter is read last: where the ledger publishes a new period in between, it is of that one, and begins anew.
    """

    __slots__ = ("_check", "_figures", "_has_failed")

    def __init__(self, check: Check) -> None:
        self._check = check
        self._figures: Reply = None
        self._has_failed = False

    def received(self, reply: Reply) -> None:
        """First the account's figures, then the counter."""
        if self._figures is None:
            self._figures = reply
        elif not self._has_failed:
            *figures, resets_at = self._figures
            self._check.answer(figures, Counter(int(reply or 0), int(resets_at or 0)))

    def failed(self, error: Exception) -> None:
        """Either of the two is not answered."""
        if not self._has_failed:
            self._has_failed = True
            self._check.failed(error)


def decide(
    question: CheckQuestion, offer: Offer | None, available_micro: int, floor_micro: int, counter: Counter | None = None
) -> CheckAnswer:
    """The answer where this much can be spent; no offer: unknown feature. Raises Refusal for too large a cost."""
    if offer is None:
        return _answer(question, available_micro, 0, Reason.UNKNOWN_FEATURE)
    terms, reason, cost = offer.terms, offer.refusal, 0
    if terms.price is not None:
        cost = cost_micro(terms.price, question.units_micro)
        if cost > MAX_COST_MICRO:
            raise cost_too_large(cost)
        if counter is not None:
            reason = reason or refusal_of_limit(counter.used_micro, question.units_micro, terms.limit_units_micro)
        bounds = floor_micro, terms.overage_policy, terms.overage_limit_micro
        reason = reason or refusal_of_credit(available_micro, cost, *bounds)
    answer = _answer(question, available_micro, cost, reason)
    answer.overage_policy = terms.overage_policy
    if counter is not None and terms.is_counted:
        limit_micro = terms.limit_units_micro
        answer.limit = None if limit_micro is None else from_micro(limit_micro)
        answer.used, answer.resets_at = from_micro(counter.used_micro), to_rfc3339(counter.resets_at)
    return answer


def _answer(question: CheckQuestion, available_micro: int, cost: int, reason: Reason | None) -> CheckAnswer:
    return CheckAnswer(
        reason is None,
        from_micro(available_micro),
        question.feature_key,
        from_micro(question.units_micro),
        from_micro(cost),
        reason=reason,
    )


def cost_too_large(cost: int) -> Refusal:
    """An event that would cost more than one event may."""
    detail = f"This would cost {from_micro(cost)} credits; one event may cost {from_micro(MAX_COST_MICRO)}."
    return Refusal(Code.COST_TOO_LARGE, detail, context={"cost": from_micro(cost)})
