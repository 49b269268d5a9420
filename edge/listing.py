"""`GET /v1/entitlements`: everything that a customer may do, in one call; 304 where that is known already."""

from decimal import Decimal

import msgspec

from app.rules import totals
from app.rules.credits import MICRO, from_micro
from app.rules.entitlement import OveragePolicy, Reason
from app.wire.entity_tags import is_known, tag_of
from edge.accounts import UNKNOWN_SNAPSHOT, Account
from edge.attempt import Attempt, clock_at
from edge.auth import Principal
from edge.charging import Charge
from edge.checks import Counter, Figures, decide
from edge.decoding import CheckQuestion, read_end_user
from edge.exchange import Exchange
from edge.plans import Plan
from edge.redis_link import Reply
from edge.refusals import Refusal
from edge.services import Services

_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")


class Entitlement(msgspec.Struct):
    """One feature, as a check of one unit answers."""

    allowed: bool
    units: int | Decimal
    cost: int | Decimal
    reason: Reason | None
    overage_policy: OveragePolicy | None
    value: msgspec.Raw | None
    limit: int | Decimal | None
    used: int | Decimal | None
    resets_at: str | None


class ListingAnswer(msgspec.Struct):
    """The body of a 200."""

    end_user_id: str
    balance: int | Decimal
    reserved: int | Decimal
    subscription_status: str
    features: dict[str, Entitlement]
    version: int


def list_entitlements(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Answer for all features. Raises Refusal."""
    account = services.accounts.get(principal, read_end_user(exchange.query))
    Listing(services, account, exchange).send()


class Listing(Attempt):
    """One listing under way."""

    __slots__ = ("_asked_for", "_exchange", "_gauges")

    def __init__(self, services: Services, account: Account, exchange: Exchange) -> None:
        super().__init__(services, account)
        self._exchange = exchange
        self._gauges: list[str] = []
        self._asked_for = UNKNOWN_SNAPSHOT
        """The snapshot that the gauges are from."""

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def send(self) -> None:
        """Read the account, and what is held of the gauges that it is believed to have."""
        plan = self.services.plans.get(self.account.snapshot_id)
        self._gauges = [] if plan is None else plan.gauges
        self._asked_for = self.account.snapshot_id
        command = self.account.look_command(clock_at(), self._gauges)
        self.services.redis.send(command, self, is_script=True)

    def received(self, reply: Reply) -> None:
        """Answer, unless the account is not loaded, at its boundary, or on another plan than was believed."""
        revision, base, applied, accepted, last_at, valid_until, *more = reply[0]
        snapshot_id, status, floor, reserved, frozen, resets_at = more
        at = self.account_at(last_at, valid_until, frozen)
        if at is None:
            return
        plan = self.services.plans.get(snapshot_id)
        if plan is None or snapshot_id != self._asked_for:
            self.believe(snapshot_id)
        else:
            available_micro = totals.available(int(base), int(accepted), int(applied))
            figures = Figures(available_micro, int(floor), status.decode(), int(revision), int(reserved or 0), None)
            held = {key: int(units or 0) for key, units in zip(self._gauges, reply[1], strict=True)}
            charges = {key: offer.charge(MICRO, None, at) for key, offer in plan.items() if offer.terms.rates}
            view = View(plan, figures, held, charges)
            if counted := [key for key, offer in plan.items() if offer.is_counted]:
                self.aside(self._answer_counted(view, counted, int(resets_at or 0)))
            else:
                self._answer(view, {})

    async def _answer_counted(self, view: "View", counted: list[str], resets_at: int) -> None:
        """Limits and some costs follow from what was used in the period: read that too."""
        found = await self.services.redis.ask(b"HMGET", self.account.used_key, *map(str.encode, counted))
        counters = {key: Counter(int(used or 0), resets_at) for key, used in zip(counted, found, strict=True)}
        self._answer(view, counters)

    def _answer(self, view: "View", counters: dict[str, Counter]) -> None:
        figures = view.figures
        features = {key: view.entitlement(key, counters.get(key)) for key in view.plan}
        answer = ListingAnswer(
            self.account.end_user_id,
            from_micro(figures.available_micro),
            from_micro(figures.reserved_micro),
            figures.subscription_status,
            features,
            figures.revision,
        )
        self._respond(_encoder.encode(answer))

    def refused(self, refusal: Refusal) -> None:
        """The problem document."""
        self._exchange.refuse(refusal)

    def _respond(self, body: bytes) -> None:
        tag = tag_of(body)
        status = 304 if is_known(self._exchange.headers.get(b"if-none-match", b""), tag) else 200
        self._exchange.respond(status, body, b"ETag: %b\r\n" % tag)


class View(msgspec.Struct, frozen=True):
    """Everything that the features' answers follow from."""

    plan: Plan
    figures: Figures
    held: dict[str, int]
    """Units of each gauge."""
    charges: dict[str, Charge]
    """Of one unit of each feature that has a price."""

    def entitlement(self, feature_key: str, counter: Counter | None) -> Entitlement:
        """One feature, with what was used of it where that is counted."""
        charge, figures = self.charges.get(feature_key), self.figures
        if counter is not None:
            figures = msgspec.structs.replace(figures, counter=counter)
        cost = 0 if charge is None else charge.cost_micro(0 if counter is None else counter.used_micro)
        question = CheckQuestion("", feature_key, MICRO)
        answer = decide(question, self.plan[feature_key], cost, figures, self.held.get(feature_key, 0))
        return Entitlement(
            answer.allowed,
            answer.units,
            answer.cost,
            answer.reason,
            answer.overage_policy,
            answer.value,
            answer.limit,
            answer.used,
            answer.resets_at,
        )
