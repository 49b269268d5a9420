"""`GET /v1/entitlements/check`: may this customer do this, now? One HMGET, answered from what it brings.

Only where the price goes by what was used before in the period is that read as well.
"""

from decimal import Decimal

import msgspec

from app.rules import totals
from app.rules.credits import from_micro
from app.rules.entitlement import OveragePolicy, Reason, refusal_of_credit
from app.wire.codes import Code
from edge.accounts import Account
from edge.attempt import Attempt, clock_at
from edge.auth import Principal
from edge.charging import Charge, Offer
from edge.decoding import CheckQuestion, read_check
from edge.exchange import Exchange
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


class Figures(msgspec.Struct, frozen=True):
    """What is known of an account when it is asked about."""

    available_micro: int
    floor_micro: int
    subscription_status: str
    revision: int
    reserved_micro: int


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
        at = max(clock_at(), int(last_at))
        if at >= int(valid_until):
            self.overcome(self.tick())
            return
        plan = self.services.plans.get(snapshot_id)
        if plan is None:
            self.overcome(self.load_plan(snapshot_id))
            return
        available_micro = totals.available(int(base), int(accepted), int(applied))
        figures = Figures(available_micro, int(floor), status.decode(), int(revision), int(reserved or 0))
        offer = plan.get(self._question.feature_key)
        if offer is None or not offer.terms.rates:
            self._answer(offer, 0, figures)
            return
        charge = offer.charge(self._question.units_micro, self._question.properties, at)
        if charge.is_counted:
            self.aside(self._answer_counted(offer, charge, figures))
        else:
            self._answer(offer, charge.cost_micro(), figures)

    async def _answer_counted(self, offer: Offer, charge: Charge, figures: Figures) -> None:
        """The cost follows from what was used before: read that too. Raises Refusal for too large a cost."""
        counter = await self.services.redis.ask(b"HGET", self.account.used_key, self._question.feature_key.encode())
        self._answer(offer, charge.cost_micro(int(counter or 0)), figures)

    def _answer(self, offer: Offer | None, cost: int, figures: Figures) -> None:
        self._exchange.respond(200, _encoder.encode(decide(self._question, offer, cost, figures)))

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


def decide(question: CheckQuestion, offer: Offer | None, cost: int, figures: Figures) -> CheckAnswer:
    """The answer where the units cost this much; no offer: unknown feature."""
    reason, policy = Reason.UNKNOWN_FEATURE, None
    if offer is not None:
        policy = offer.terms.overage_policy
        reason = offer.refusal or refusal_of_credit(figures.available_micro, cost, figures.floor_micro, policy)
    return CheckAnswer(
        reason is None,
        from_micro(figures.available_micro),
        question.feature_key,
        from_micro(question.units_micro),
        from_micro(cost),
        from_micro(figures.reserved_micro),
        reason=reason,
        overage_policy=policy,
        subscription_status=figures.subscription_status,
        version=figures.revision,
    )
