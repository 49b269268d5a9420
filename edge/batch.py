"""`POST /v1/usage/batch`: many events, each on its own; results in their order.

Events of one customer go over the one connection in the order of the batch. One that has to wait (its account is loaded
first, say) is taken in when its wait is over.
"""

import asyncio
from decimal import Decimal
from http import HTTPStatus
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from app.rules.credits import from_micro
from app.wire.ids import show
from edge.auth import Principal
from edge.decoding import header_key, read_batch, read_usage, require_json
from edge.exchange import Exchange, as_refusal
from edge.recording import Outcome, Recording
from edge.refusals import Refusal
from edge.services import Services
from edge.usage import SPOOLED, refusal_of

SLICE_EVENTS = 100
"""Events that are sent before other requests have their turn."""

_encoder = msgspec.json.Encoder(decimal_format="number")


class Result(msgspec.Struct):
    """What became of one event. Where one CloudEvent makes several, each names its feature."""

    status: str
    replayed: bool = False
    event_id: str | None = None
    cost: int | Decimal | None = None
    balance: int | Decimal | None = None
    overage: int | Decimal | None = None
    code: str | None = None
    detail: str | None = None
    index: int | UnsetType = UNSET
    """Which CloudEvent of the request it was."""
    feature_key: str | UnsetType | None = UNSET


class SpooledResult(Result):
    """What became of an event that is decided on later."""

    durability: str = SPOOLED


class BatchAnswer(msgspec.Struct):
    """The body of a 202."""

    results: list[Result]


def decided_result(outcome: Outcome) -> Result:
    """The event was accepted, or refused for the limit or for want of credit."""
    refusal = refusal_of(outcome)
    return Result(
        "accepted" if refusal is None else "rejected",
        outcome.is_replayed,
        outcome.event_id,
        from_micro(outcome.cost_micro),
        from_micro(outcome.balance_micro),
        from_micro(outcome.overage_micro),
        None if refusal is None else refusal.code,
        None if refusal is None else refusal.detail,
    )


def refused_result(refusal: Refusal) -> Result:
    """Nothing was recorded of it."""
    return Result("rejected", code=refusal.code, detail=refusal.detail)


def record_batch(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Take a batch in. Raises Refusal where it is none."""
    require_json(exchange)
    key_of_head = header_key(exchange)
    Batch(services, exchange, principal, read_batch(exchange.body), key_of_head).send()


class Batch:
    """One batch under way."""

    def __init__(
        self,
        services: Services,
        exchange: Exchange,
        principal: Principal,
        events: list[msgspec.Raw],
        key_of_head: str | None,
    ) -> None:
        self._services = services
        self._exchange = exchange
        self._principal = principal
        self._events = events
        self._key_of_head = key_of_head
        self._sent = 0
        self._results: list[Result] = [Result("pending")] * len(events)
        self._left = len(events)
        self._passing: list[Refusal] = []

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def send(self) -> None:
        """Send the next slice of events; the rest follows in the next turn of the loop."""
        end = min(self._sent + SLICE_EVENTS, len(self._events))
        for index in range(self._sent, end):
            self._send_one(index)
        self._sent = end
        if end < len(self._events):
            asyncio.get_running_loop().call_soon(self.send)

    def _send_one(self, index: int) -> None:
        place = Place(self, index)
        try:
            event = read_usage(self._events[index], self._key_for(index))
            account = self._services.accounts.get(self._principal, event.end_user_id)
            Recording(self._services, account, event, place).send()
        except Exception as error:  # noqa: BLE001 - one bad event never harms the others
            place.refused(as_refusal(error, self.request_id))

    def _key_for(self, index: int) -> str | None:
        return None if self._key_of_head is None else f"{self._key_of_head}:{index}"

    def settle(self, index: int, result: Result, refusal: Refusal | None = None) -> None:
        """Note what became of an event; the last one answers the batch."""
        self._results[index] = result
        self._left -= 1
        if refusal is not None and refusal.is_passing:
            self._passing.append(refusal)
        if self._left:
            return
        if len(self._passing) == len(self._events):  # nothing was decided: the whole may be sent again
            self._exchange.refuse(self._passing[0])
        else:
            self._exchange.respond(HTTPStatus.ACCEPTED, _encoder.encode(BatchAnswer(self._results)))


class Place:
    """One event's place in its batch."""

    __slots__ = ("_batch", "_index")

    def __init__(self, batch: Batch, index: int) -> None:
        self._batch = batch
        self._index = index

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._batch.request_id

    def decided(self, outcome: Outcome) -> None:
        """The event was accepted, or refused for the limit or for want of credit."""
        self._batch.settle(self._index, decided_result(outcome))

    def spooled(self, event_id: UUID) -> None:
        """The event is kept, and decided on later."""
        self._batch.settle(self._index, SpooledResult("accepted", event_id=show("evt", event_id)))

    def refused(self, refusal: Refusal) -> None:
        """Nothing was recorded of it."""
        self._batch.settle(self._index, refused_result(refusal), refusal)
