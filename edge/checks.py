"""`GET /v1/entitlements/check`: may this customer do this, now? One HMGET, answered from what it brings."""

from decimal import Decimal

import msgspec

from app.rules import totals
from app.rules.credits import MAX_COST_MICRO, from_micro
from app.rules.entitlement import OveragePolicy, Reason, refusal_of_credit
from app.rules.pricing import cost_micro
from app.wire.codes import Code
from edge.accounts import Account
from edge.attempt import Attempt, clock_at
from edge.auth import Principal
from edge.decoding import CheckQuestion, read_check
from edge.exchange import Exchange
from edge.plans import Offer
from edge.redis import Reply
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
    reserved: int | Decimal = 0
    reason: Reason | None = None
    overage_policy: OveragePolicy | None = None
    subscription_status: str | None = None
    value: None = None
    limit: None = None
    used: None = None
    resets_at: None = None
    version: int = 0


def check(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Answer a check. Raises Refusal."""
    question = read_check(exchange.query)
    account = services.accounts.get(principal, question.end_user_id)
    Check(services, account, question, exchange).send()


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
        """Read the account."""
        self.services.redis.send(self.account.read_command, self)

    def received(self, reply: Reply) -> None:
        """Answer from the account's figures, unless it is not loaded or at its boundary."""
        revision, base, applied, accepted, last_at, valid_until, snapshot_id, status, floor, reserved = reply
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
        available_micro = totals.available(int(base), int(accepted), int(applied))
        answer = decide(self._question, plan.get(self._question.feature_key), available_micro, int(floor))
        answer.subscription_status = status.decode()
        answer.version = int(revision)
        if reserved is not None:
            answer.reserved = from_micro(int(reserved))
        self._exchange.respond(200, _encoder.encode(answer))

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


def decide(question: CheckQuestion, offer: Offer | None, available_micro: int, floor_micro: int) -> CheckAnswer:
    """The answer where this much can be spent; no offer: unknown feature. Raises Refusal for too large a cost."""
    cost, reason, policy = 0, Reason.UNKNOWN_FEATURE, None
    if offer is not None:
        terms, reason, policy = offer.terms, offer.refusal, offer.terms.overage_policy
        if terms.price is not None:
            cost = cost_micro(terms.price, question.units_micro)
            if cost > MAX_COST_MICRO:
                raise cost_too_large(cost)
            reason = reason or refusal_of_credit(available_micro, cost, floor_micro, policy)
    return CheckAnswer(
        reason is None,
        from_micro(available_micro),
        question.feature_key,
        from_micro(question.units_micro),
        from_micro(cost),
        reason=reason,
        overage_policy=policy,
    )


def cost_too_large(cost: int) -> Refusal:
    """An event that would cost more than one event may."""
    detail = f"This would cost {from_micro(cost)} credits; one event may cost {from_micro(MAX_COST_MICRO)}."
    return Refusal(Code.COST_TOO_LARGE, detail, context={"cost": from_micro(cost)})
