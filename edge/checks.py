"""`GET /v1/entitlements/check`: may this customer do this, now? One HMGET, answered from what it brings.

Of a gauge it is a script that reads what is held as well. Where the feature's units are counted, its counter is asked
for in the same write.
"""

from decimal import Decimal

import msgspec

from app.rules import totals
from app.rules.credits import MICRO, from_micro
from app.rules.entitlement import FeatureKind, OveragePolicy, Reason, refusal_of_credit, refusal_of_limit
from app.rules.moments import to_rfc3339
from app.wire.codes import Code
from app.wire.snapshot import ACCOUNT_FIELDS
from edge import metrics
from edge.accounts import Account
from edge.attempt import Attempt, clock_at
from edge.auth import Principal
from edge.charging import Offer
from edge.decoding import CheckQuestion, read_check
from edge.exchange import Exchange
from edge.redis_link import Reply, pack
from edge.refusals import Refusal
from edge.services import Services

_CHECKS = metrics.counter(
    "quotastack_edge_checks_total",
    "Checks that were answered, those of batches among them",
    ["answer"],
    [("allowed",), *((reason.value,) for reason in Reason)],
)
_CHECK_ROWS = {None: _CHECKS.row("allowed"), **{reason: _CHECKS.row(reason.value) for reason in Reason}}
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
    value: msgspec.Raw | None = None
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


class Check(Attempt):
    """One check under way. Who asked is told by `answered` or `unanswered`, once."""

    __slots__ = ("_looks", "_question")

    def __init__(self, services: Services, account: Account, question: CheckQuestion) -> None:
        super().__init__(services, account)
        self._question = question
        self._looks = False
        """What is held of the feature was asked for too."""

    def answered(self, answer: CheckAnswer) -> None:
        """Yes or no."""
        raise NotImplementedError

    def unanswered(self, refusal: Refusal) -> None:
        """Neither."""
        raise NotImplementedError

    def send(self) -> None:
        """Read the account; of what is believed to be a gauge what is held, and a counter where the plan counts."""
        services, account, feature_key = self.services, self.account, self._question.feature_key
        plan = services.plans.get(account.snapshot_id)
        offer = None if plan is None else plan.get(feature_key)
        self._looks = offer is not None and offer.is_gauge
        if self._looks:
            services.redis.send(account.look_command(clock_at(), (feature_key,)), self, is_script=True)
        elif offer is not None and offer.is_counted:
            reading = _Reading(self)
            services.redis.send(pack(b"HMGET", account.key, *ACCOUNT_FIELDS, b"resets_at"), reading)
            services.redis.send(pack(b"HGET", account.used_key, feature_key), reading)
        else:
            services.redis.send(account.read_command, self)

    def received(self, reply: Reply) -> None:
        """The account's figures, without a counter; of a gauge with what is held."""
        if self._looks:
            self.answer(reply[0][:-1], None, int(reply[1][0] or 0))
        else:
            self.answer(reply, None)

    def answer(self, figures: Reply, counter: Counter | None, held: int = 0) -> None:
        """Answer from the account's figures, unless it is not loaded or at its boundary."""
        revision, base, applied, accepted, last_at, valid_until, *more = figures
        snapshot_id, status, floor, reserved, frozen = more
        at = self.account_at(last_at, valid_until, frozen)
        if at is None:
            return
        plan = self.services.plans.get(snapshot_id)
        if plan is None:
            self.overcome(self.load_plan(snapshot_id))
            return
        offer = plan.get(self._question.feature_key)
        if offer is not None and ((offer.is_gauge and not self._looks) or (offer.is_counted and counter is None)):
            self.believe(snapshot_id)
            return
        self.account.snapshot_id = snapshot_id
        available_micro = totals.available(int(base), int(accepted), int(applied))
        known = Figures(available_micro, int(floor), status.decode(), int(revision), int(reserved or 0), counter)
        cost = 0
        if offer is not None and offer.terms.rates:
            charge = offer.charge(self._question.units_micro, self._question.properties, at)
            cost = charge.cost_micro(0 if counter is None else counter.used_micro)
        self._tell(decide(self._question, offer, cost, known, held))

    def _tell(self, answer: CheckAnswer) -> None:
        _CHECKS.add(_CHECK_ROWS[answer.reason])
        self.answered(answer)

    def refused(self, refusal: Refusal) -> None:
        """A customer whom nobody knows is a no; everything else is no answer."""
        if refusal.code is not Code.UNKNOWN_CUSTOMER:
            self.unanswered(refusal)
            return
        question = self._question
        answer = CheckAnswer(
            allowed=False,
            balance=0,
            feature_key=question.feature_key,
            units=from_micro(question.units_micro),
            reason=Reason.UNKNOWN_CUSTOMER,
        )
        self._tell(answer)


class SingleCheck(Check):
    """The only check of its request."""

    __slots__ = ("_exchange",)

    def __init__(self, services: Services, account: Account, question: CheckQuestion, exchange: Exchange) -> None:
        super().__init__(services, account, question)
        self._exchange = exchange

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def answered(self, answer: CheckAnswer) -> None:
        """200, whether yes or no."""
        self._exchange.respond(200, _encoder.encode(answer))

    def unanswered(self, refusal: Refusal) -> None:
        """The problem document."""
        self._exchange.refuse(refusal)


def check(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Answer a check. Raises Refusal."""
    question = read_check(exchange.query)
    account = services.accounts.get(principal, question.end_user_id)
    SingleCheck(services, account, question, exchange).send()


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


def decide(question: CheckQuestion, offer: Offer | None, cost: int, figures: Figures, held: int = 0) -> CheckAnswer:
    """The answer where the units cost this much, and so many units of a gauge are held; no offer: unknown feature."""
    answer = CheckAnswer(
        allowed=False,
        balance=from_micro(figures.available_micro),
        feature_key=question.feature_key,
        units=from_micro(question.units_micro),
        cost=from_micro(cost),
        reason=Reason.UNKNOWN_FEATURE,
        reserved=from_micro(figures.reserved_micro),
        subscription_status=figures.subscription_status,
        version=figures.revision,
    )
    if offer is None:
        return answer
    terms, reason = offer.terms, offer.refusal
    match terms.kind:
        case FeatureKind.METERED:
            answer.overage_policy = terms.overage_policy
            reason = reason or _refusal(offer, question.units_micro, cost, figures)
            if offer.is_counted and figures.counter is not None:
                _show_counter(answer, offer, figures.counter)
        case FeatureKind.GAUGE:
            answer.limit, answer.used = offer.limit, held
            cap_micro = None if offer.limit is None else offer.limit * MICRO
            reason = reason or refusal_of_limit(held * MICRO, question.units_micro, cap_micro)
        case FeatureKind.BOOLEAN | FeatureKind.STATIC:
            answer.value = offer.value
    answer.allowed, answer.reason = reason is None, reason
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
