"""`POST /v1/usage`: one event, one answer."""

from decimal import Decimal
from http import HTTPStatus
from uuid import UUID

import msgspec

from app.rules.credits import from_micro
from app.rules.moments import to_rfc3339
from app.wire.codes import Code
from app.wire.ids import show
from edge.auth import Principal
from edge.decoding import header_key, read_usage, require_json
from edge.exchange import REPLAYED, Exchange
from edge.recording import LimitReached, Outcome, Recording
from edge.refusals import Refusal, invalid_value
from edge.services import Services

SPOOLED = "spooled"
"""The `durability` of an event that is on the edge's disk and not in the stream; of any other nothing is said."""

_encoder = msgspec.json.Encoder(decimal_format="number")


class UsageAnswer(msgspec.Struct):
    """The body of a 202."""

    event_id: str | None
    """None where a CloudEvent had no units, so that nothing was recorded."""
    accepted: bool
    cost: int | Decimal
    balance: int | Decimal | None
    overage: int | Decimal


class SpooledAnswer(msgspec.Struct):
    """The body of a 202 to an event that is decided on later."""

    event_id: str
    accepted: bool = True
    cost: None = None
    balance: None = None
    overage: None = None
    durability: str = SPOOLED


def record(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Take one event in. Raises Refusal."""
    require_json(exchange)
    key_of_head = header_key(exchange)
    event = read_usage(exchange.body, key_of_head)
    if key_of_head is not None and event.idempotency_key != key_of_head:
        raise invalid_value("idempotency_key", "and the header Idempotency-Key differ; send one of them")
    account = services.accounts.get(principal, event.end_user_id)
    Recording(services, account, event, SingleEvent(exchange)).send()


def refusal_of(outcome: Outcome) -> Refusal | None:
    """A remembered refusal, where it is one."""
    return None if outcome.is_accepted else why_refused(outcome)


def why_refused(outcome: Outcome) -> Refusal:
    """Everything in it follows from what is remembered, so that a replay says the same."""
    return _insufficient_credits(outcome) if outcome.limit is None else _limit_reached(outcome.limit)


def _limit_reached(reached: LimitReached) -> Refusal:
    limit, used, resets_at = (
        from_micro(reached.limit_micro),
        from_micro(reached.used_micro),
        to_rfc3339(reached.resets_at),
    )
    detail = f"{used} of {limit} units are used, and this would go beyond. Counting begins anew at {resets_at}."
    return Refusal(Code.LIMIT_REACHED, detail, context={"limit": limit, "used": used, "resets_at": resets_at})


def _insufficient_credits(outcome: Outcome) -> Refusal:
    """It costs more than can be spent."""
    cost, balance = from_micro(outcome.cost_micro), from_micro(outcome.balance_micro)
    detail = (
        f"The cost is {cost}, the balance {balance}, in credits: that is further than this customer may go. "
        "After a top-up, send it with a new idempotency key."
    )
    return Refusal(Code.INSUFFICIENT_CREDITS, detail, context={"balance": balance, "cost": cost})


class SingleEvent:
    """Answers one request when its one event is decided."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def decided(self, outcome: Outcome) -> None:
        """202 or 402, byte for byte the same whenever it is given."""
        headers = REPLAYED if outcome.is_replayed else b""
        refusal = refusal_of(outcome)
        if refusal is not None:
            self._exchange.refuse(refusal, outcome.event_id, headers)
            return
        answer = UsageAnswer(
            outcome.event_id,
            accepted=True,
            cost=from_micro(outcome.cost_micro),
            balance=from_micro(outcome.balance_micro),
            overage=from_micro(outcome.overage_micro),
        )
        self._exchange.respond(HTTPStatus.ACCEPTED, _encoder.encode(answer), headers)

    def spooled(self, event_id: UUID) -> None:
        """202 without figures: nobody knows them yet."""
        self._exchange.respond(HTTPStatus.ACCEPTED, _encoder.encode(SpooledAnswer(show("evt", event_id))))

    def refused(self, refusal: Refusal) -> None:
        """Nothing was recorded."""
        self._exchange.refuse(refusal)
