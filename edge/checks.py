"""`GET /v1/entitlements/check`: may this customer do this, now? One HMGET, answered from what it brings.

Where the feature's units are counted, its counter is asked for in the same write.
"""

from decimal import Decimal

import msgspec

from app.rules import totals
from app.rules.credits import from_micro
from app.rules.entitlement import OveragePolicy, Reason, refusal_of_credit, refusal_of_limit
from app.rules.moments import to_rfc3339
from app.wire.codes import Code
from app.wire.snapshot import ACCOUNT_FIELDS
from edge.accounts import Account
from edge.attempt import Attempt, clock_at
from edge.auth import Principal
from edge.charging import Offer
from edge.decoding import CheckQuestion, read_check
from edge.exchange import Exchange
from edge.redis_link import Reply, pack
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
    limit: int | Decimal | None = None
    used: int | Decimal | None = None
    resets_at: str | None = None
    version: int = 0


class Counter(msgspec.Struct, frozen=True):
    """What is used of a feature in the account's present period, in micro-units, and where that ends."""

    used_micro: int
    resets_at: int


class Figures(msgspec.Struct, frozen=True):
    """What is known of an account when it is asked about."""

    available_micro: int
    floor_micro: int
    subscription_status: str
    revision: int
    reserved_micro: int
    counter: Counter | None
    """Of the feature, where its units are counted."""


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
        """Read the account, and the counter where the plan that it is believed to have counts."""
        account = self.account
        plan = self.services.plans.get(account.snapshot_id)
        offer = None if plan is None else plan.get(self._question.feature_key)
        if offer is not None and offer.is_counted:
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
        revision, base, applied, accepted, last_at, valid_until, snapshot_id, status, floor, reserved = figures
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
        offer = plan.get(self._question.feature_key)
        if offer is not None and offer.is_counted and counter is None:
            self._ask_again(snapshot_id)
            return
        available_micro = totals.available(int(base), int(accepted), int(applied))
        known = Figures(available_micro, int(floor), status.decode(), int(revision), int(reserved or 0), counter)
        cost = 0
        if offer is not None and offer.terms.rates:
            charge = offer.charge(self._question.units_micro, self._question.properties, at)
            cost = charge.cost_micro(0 if counter is None else counter.used_micro)
        self._exchange.respond(200, _encoder.encode(decide(self._question, offer, cost, known)))

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


def decide(question: CheckQuestion, offer: Offer | None, cost: int, figures: Figures) -> CheckAnswer:
    """The answer where the units cost this much; no offer: unknown feature."""
    answer = CheckAnswer(
        allowed=False,
        balance=from_micro(figures.available_micro),
        feature_key=question.feature_key,
        units=from_micro(question.units_micro),
        cost=from_micro(cost),
        reserved=from_micro(figures.reserved_micro),
        reason=Reason.UNKNOWN_FEATURE,
        subscription_status=figures.subscription_status,
        version=figures.revision,
    )
    if offer is not None:
        answer.reason = offer.refusal or _refusal(offer, question.units_micro, cost, figures)
        answer.allowed = answer.reason is None
        answer.overage_policy = offer.terms.overage_policy
        if offer.is_counted and figures.counter is not None:
            _show_counter(answer, offer, figures.counter)
    return answer


def _refusal(offer: Offer, units_micro: int, cost: int, figures: Figures) -> Reason | None:
    """The limit comes before credit."""
    terms, counter = offer.terms, figures.counter
    if counter is not None and refusal_of_limit(counter.used_micro, units_micro, terms.limit_units_micro):
        return Reason.LIMIT_REACHED
    bounds = figures.floor_micro, terms.overage_policy, terms.overage_limit_micro
    return refusal_of_credit(figures.available_micro, cost, *bounds)


def _show_counter(answer: CheckAnswer, offer: Offer, counter: Counter) -> None:
    limit_micro = offer.terms.limit_units_micro
    answer.limit = None if limit_micro is None else from_micro(limit_micro)
    answer.used, answer.resets_at = from_micro(counter.used_micro), to_rfc3339(counter.resets_at)
