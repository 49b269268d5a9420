"""CloudEvents, one or many: each becomes a usage event for every feature that reads its type.

Which features those are stands in the customer's plan snapshot, so the account is asked which one it has once the event
is here; what is recorded then goes the way of all usage. Emitters rarely read what they are answered, so one refusal
that passes refuses the whole: whoever sends everything again has each event once, by its source and id.
"""

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from http import HTTPStatus
from uuid import UUID

import msgspec

from app.rules import totals
from app.rules.credits import from_micro
from app.wire.codes import Code
from app.wire.ids import show
from app.wire.problem import FieldError
from edge.accounts import Account
from edge.attempt import Attempt, clock_at
from edge.auth import Principal
from edge.batch import BatchAnswer, Result, SpooledResult, decided_result, refused_result
from edge.cloud_events import CloudEvent, read_cloud_batch, read_cloud_event
from edge.decoding import JSON, media_type, require_plain
from edge.exchange import REPLAYED, Exchange, as_refusal
from edge.json_bodies import MAX_SHOWN_NAME
from edge.plans import Plan
from edge.recording import SPOOLED_CODES, Outcome, Recording, believes_plan
from edge.redis_link import Reply
from edge.refusals import Refusal
from edge.services import Services
from edge.usage import SingleEvent, UsageAnswer, record

ONE = b"application/cloudevents+json"
MANY = b"application/cloudevents-batch+json"
MAX_UNDER_WAY = 50
"""Events of one request that wait for Redis at once: read by twenty features each, they are as much as a batch."""
_MARK = b"cloudevents"

_encoder = msgspec.json.Encoder(decimal_format="number")


class Nothing(msgspec.Struct, frozen=True):
    """The event has no units for a feature: nothing is recorded, and this is what can be spent, where that is known."""

    available_micro: int | None


class Spooled(msgspec.Struct, frozen=True):
    """The event is kept, and decided on later."""

    event_id: UUID


End = Outcome | Refusal | Nothing | Spooled


def record_any(services: Services, exchange: Exchange, principal: Principal) -> None:
    """`POST /v1/usage`: an event in our own form, or CloudEvents where the body says that it is. Raises Refusal."""
    if _MARK not in media_type(exchange):
        record(services, exchange, principal)
        return
    kind = _kind(exchange, ONE, MANY)
    Delivery(services, exchange, principal, is_batch=kind == MANY).send()


def record_emitted(services: Services, exchange: Exchange, principal: Principal) -> None:
    """`POST /api/v1/events`, as emitters for OpenMeter know it: plain JSON may be one event or many. Raises Refusal."""
    kind = _kind(exchange, ONE, MANY, JSON)
    is_batch = exchange.body.lstrip().startswith(b"[") if kind == JSON else kind == MANY
    Delivery(services, exchange, principal, is_batch=is_batch, is_brief=True).send()


def _kind(exchange: Exchange, *known: bytes) -> bytes:
    require_plain(exchange)
    kind = media_type(exchange)
    if kind not in known:
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, f"Send the body as {b' or '.join(known).decode()}.")
    return kind


class Delivery:
    """The CloudEvents of one request under way. `is_brief`: whoever has nothing to be told is told nothing."""

    def __init__(
        self, services: Services, exchange: Exchange, principal: Principal, *, is_batch: bool, is_brief: bool = False
    ) -> None:
        self._services = services
        self._exchange = exchange
        self._principal = principal
        self._is_batch = is_batch
        self._is_brief = is_brief
        self._events = read_cloud_batch(exchange.body) if is_batch else [msgspec.Raw(exchange.body)]
        self._parts = [[Part(self, index)] for index in range(len(self._events))]
        self._left = len(self._events)
        self._sent = 0
        self._is_held = False

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def send(self) -> None:
        """Send as many events as may be under way at once; the others follow as these end."""
        if not self._events:
            self._answer()
        end = min(self._sent + MAX_UNDER_WAY, len(self._events))
        while self._sent < end and self._under_way < MAX_UNDER_WAY:
            self._sent += 1
            self._send_one(self._sent - 1)
        self._is_held = self._under_way >= MAX_UNDER_WAY
        if self._sent < len(self._events) and not self._is_held:
            asyncio.get_running_loop().call_soon(self.send)

    @property
    def _under_way(self) -> int:
        return self._left - (len(self._events) - self._sent)

    def _send_one(self, index: int) -> None:
        (whole,) = self._parts[index]
        try:
            event = read_cloud_event(self._events[index])
            account = self._services.accounts.get(self._principal, event.end_user_id)
            Reading(self._services, account, event, whole).send()
        except Exception as error:  # noqa: BLE001 - one bad event never harms the others
            whole.refused(as_refusal(error, self.request_id))

    def split(self, index: int, feature_keys: Iterable[str]) -> list["Part"]:
        """One part for each feature that reads the event, in place of the whole."""
        self._parts[index] = [Part(self, index, feature_key) for feature_key in feature_keys]
        self._left += len(self._parts[index]) - 1
        return self._parts[index]

    def settled(self, ended: End) -> None:
        """One more part has ended; the last one answers the request."""
        self._left -= 1
        if isinstance(ended, Refusal) and ended.is_passing:  # all of it will be sent again
            self._left = self._under_way
            self._sent = len(self._events)
        if not self._left:
            self._answer()
        elif self._is_held and self._under_way <= MAX_UNDER_WAY // 2:
            self._is_held = False
            asyncio.get_running_loop().call_soon(self.send)

    def _answer(self) -> None:
        parts = [part for parts in self._parts for part in parts]
        refusals = [part.ended for part in parts if isinstance(part.ended, Refusal)]
        passing = [refusal for refusal in refusals if refusal.is_passing]
        if passing:
            self._exchange.refuse(passing[0])
        elif refusals and not self._is_batch and len(refusals) == len(parts):
            self._exchange.refuse(refusals[0])
        elif self._is_brief and not refusals:
            self._confirm([part.ended for part in parts if isinstance(part.ended, Outcome)])
        elif not self._is_batch and len(parts) == 1:
            self._answer_one(parts[0].ended)
        else:
            answer = BatchAnswer([part.result() for part in parts])
            self._exchange.respond(HTTPStatus.ACCEPTED, _encoder.encode(answer))

    def _confirm(self, outcomes: list[Outcome]) -> None:
        is_replayed = bool(outcomes) and all(outcome.is_replayed for outcome in outcomes)
        self._exchange.confirm(REPLAYED if is_replayed else b"")

    def _answer_one(self, ended: End) -> None:
        match ended:
            case Outcome():
                SingleEvent(self._exchange).decided(ended)
            case Refusal():
                self._exchange.refuse(ended)
            case Nothing():
                answer = UsageAnswer(None, accepted=True, cost=0, balance=_balance(ended), overage=0)
                self._exchange.respond(HTTPStatus.ACCEPTED, _encoder.encode(answer))
            case Spooled():
                SingleEvent(self._exchange).spooled(ended.event_id)


class Part:
    """What becomes of one event for one feature, or of the whole event while its features are not known."""

    __slots__ = ("_delivery", "_feature_key", "_index", "ended")

    def __init__(self, delivery: Delivery, index: int, feature_key: str | None = None) -> None:
        self._delivery = delivery
        self._index = index
        self._feature_key = feature_key
        self.ended: End = Nothing(None)

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._delivery.request_id

    def split(self, feature_keys: Iterable[str]) -> list["Part"]:
        """One part for each feature, in place of this one."""
        return self._delivery.split(self._index, feature_keys)

    def decided(self, outcome: Outcome) -> None:
        """The event was accepted for this feature."""
        self._end(outcome)

    def spooled(self, event_id: UUID) -> None:
        """The event is kept for this feature, and decided on later."""
        self._end(Spooled(event_id))

    def refused(self, refusal: Refusal) -> None:
        """Nothing was recorded."""
        self._end(refusal)

    def skipped(self, available_micro: int | None) -> None:
        """There is nothing to record."""
        self._end(Nothing(available_micro))

    def _end(self, ended: End) -> None:
        self.ended = ended
        self._delivery.settled(ended)

    def result(self) -> Result:
        """As it stands among others."""
        match self.ended:
            case Outcome():
                result = decided_result(self.ended)
            case Refusal():
                result = refused_result(self.ended)
            case Nothing():
                result = Result("skipped", cost=0, balance=_balance(self.ended), overage=0)
            case Spooled():
                result = SpooledResult("accepted", event_id=show("evt", self.ended.event_id))
        result.index, result.feature_key = self._index, self._feature_key
        return result


class Reading(Attempt):
    """One CloudEvent under way to the features that read it."""

    __slots__ = ("_event", "_whole")

    def __init__(self, services: Services, account: Account, event: CloudEvent, whole: Part) -> None:
        super().__init__(services, account)
        self._event = event
        self._whole = whole

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._whole.request_id

    def send(self) -> None:
        """Read the account: it names its plan snapshot."""
        self.services.redis.send(self.account.read_command, self)

    def received(self, reply: Reply) -> None:
        """Record for every feature that reads the event, unless the account is not loaded or at its boundary."""
        _, base, applied, accepted, last_at, valid_until, snapshot_id, *_, frozen = reply
        if self.account_at(last_at, valid_until, frozen) is None:
            return
        if (plan := self.services.plans.get(snapshot_id)) is None:
            self.overcome(self.load_plan(snapshot_id))
        else:
            self.account.snapshot_id = snapshot_id
            self._record(plan, totals.available(int(base), int(accepted), int(applied)))

    def refused(self, refusal: Refusal) -> None:
        """Nothing was recorded of it. Where nobody can be asked, a plan seen lately says which features it is for."""
        account = self.account
        plan = self.services.plans.get(account.snapshot_id)
        if refusal.code not in SPOOLED_CODES or plan is None or not believes_plan(account, clock_at()):
            self._whole.refused(refusal)
            return
        try:
            self._record(plan, None)
        except Refusal as believed:
            self._whole.refused(believed)

    def _record(self, plan: Plan, available_micro: int | None) -> None:
        readers = plan.event_types.get(self._event.type)
        if not readers:
            shown = self._event.type[:MAX_SHOWN_NAME]
            detail = f"No feature has the event_type '{shown}'."
            raise Refusal(Code.UNKNOWN_EVENT_TYPE, detail, errors=[FieldError("type", "is read by no feature.")])
        feature_keys = sorted(readers)
        for feature_key, part in zip(feature_keys, self._whole.split(feature_keys), strict=True):
            try:
                usage = self._event.usage(feature_key, readers[feature_key])
                if usage is None:
                    part.skipped(available_micro)
                else:
                    Recording(self.services, self.account, usage, part).send()
            except Exception as error:  # noqa: BLE001 - what one feature cannot read, another may
                part.refused(as_refusal(error, self.request_id))


def _balance(nothing: Nothing) -> int | Decimal | None:
    return None if nothing.available_micro is None else from_micro(nothing.available_micro)
