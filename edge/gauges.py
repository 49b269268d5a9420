"""`POST /v1/features/{key}/acquire` and `/release`: holding units of a gauge, and giving them back.

A holder holds once, so both may be asked again at any time. One script decides; what would be refused without asking it
is refused only after Redis was asked whether the plan is the right one.
"""

from datetime import datetime
from typing import Any

import msgspec

from app.rules.entitlement import Reason
from app.rules.moments import to_datetime
from app.wire import scripts
from app.wire.codes import Code
from app.wire.gauges import MAX_HOLDERS, GaugeAcquired, GaugeReleased, encode_gauge
from edge.accounts import UNKNOWN_SNAPSHOT, Account
from edge.attempt import Attempt, clock_at
from edge.auth import Principal
from edge.charging import Offer
from edge.exchange import Exchange
from edge.hold_bodies import HoldQuestion, read_acquire, read_release
from edge.redis_link import pack
from edge.refusals import Refusal, no_access, wrong_kind
from edge.services import Services

_encoder = msgspec.json.Encoder()
MICROSECONDS = 1_000_000


class AcquireAnswer(msgspec.Struct):
    """The body of a 200."""

    feature_key: str
    holder: str
    acquired: bool
    units: int
    used: int
    limit: int | None
    expires_at: datetime | None


class ReleaseAnswer(msgspec.Struct):
    """The body of a 200; released: whether it held anything."""

    released: bool
    used: int
    limit: int | None


def acquire(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Have a holder hold units. Raises Refusal."""
    question = read_acquire(exchange)
    Acquiring(services, services.accounts.get(principal, question.end_user_id), question, exchange).send()


def release(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Have a holder hold nothing any more. Raises Refusal."""
    question = read_release(exchange)
    Releasing(services, services.accounts.get(principal, question.end_user_id), question, exchange).send()


class Holding(Attempt):
    """What both have in common: the gauge, as the plan has it that the customer is believed to be on."""

    __slots__ = ("_exchange", "_limit", "_question")

    def __init__(self, services: Services, account: Account, question: HoldQuestion, exchange: Exchange) -> None:
        super().__init__(services, account)
        self._question = question
        self._exchange = exchange
        self._limit: int | None = None

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def refused(self, refusal: Refusal) -> None:
        """The problem document."""
        self._exchange.refuse(refusal)

    def send(self) -> None:
        """Run the script; where nothing is known of the account yet, it answers which plan that is on."""
        snapshot_id = self.account.snapshot_id
        plan = self.services.plans.get(snapshot_id)
        try:
            if plan is None:
                snapshot_id = UNKNOWN_SNAPSHOT
            else:
                self._limit = self._gauge(plan.get(self._question.feature_key)).limit
        except Refusal as refusal:
            self.aside(self._refuse_where_right(refusal, snapshot_id))
        else:
            self.services.redis.send(self.command(snapshot_id), self, is_script=True)

    def received(self, reply: list[Any]) -> None:
        """Answer, or overcome what stands in the way."""
        match reply[0]:
            case b"ok":
                self.answered(reply[1], reply[2])
            case b"limit":
                self.refused(self._limit_reached(reply[1]))
            case b"holders":
                detail = f"'{self._question.feature_key}' has {MAX_HOLDERS} holders already; release some."
                self.refused(Refusal(Code.TOO_MANY_HOLDERS, detail))
            case b"snapshot":
                self.believe(reply[1])
            case _:
                self.obstacle(reply)

    # ---- what each of them says of itself

    def command(self, snapshot_id: bytes) -> bytes:
        """The call of the script."""
        raise NotImplementedError

    def answered(self, first: int, second: int) -> None:
        """The script has done what was asked."""
        raise NotImplementedError

    # ---- the plan

    def _gauge(self, offer: Offer | None) -> Offer:
        """The gauge, which may be held. Raises Refusal."""
        feature_key = self._question.feature_key
        if offer is None:
            raise no_access(Reason.UNKNOWN_FEATURE, feature_key)
        if not offer.is_gauge:
            raise wrong_kind(Code.FEATURE_NOT_GAUGE, feature_key, offer.terms.kind)
        return offer

    async def _refuse_where_right(self, refusal: Refusal, snapshot_id: bytes) -> None:
        """Refuse where the account has the plan that the refusal was given for."""
        [snapshot] = await self.services.redis.ask(b"HMGET", self.account.key, b"snapshot")
        if self.is_on(snapshot_id, snapshot):
            self.refused(refusal)

    def _limit_reached(self, used: int) -> Refusal:
        question = self._question
        detail = f"{question.units} more of '{question.feature_key}' do not fit: {used} of {self._limit} are held."
        return Refusal(Code.LIMIT_REACHED, detail, context={"limit": self._limit, "used": used})


class Acquiring(Holding):
    """A holder that is to hold units."""

    __slots__ = ()

    def _gauge(self, offer: Offer | None) -> Offer:
        """What may be used at all may be held, as far as the cap goes. Raises Refusal."""
        gauge = super()._gauge(offer)
        if gauge.refusal is not None:
            raise no_access(gauge.refusal, self._question.feature_key)
        return gauge

    def command(self, snapshot_id: bytes) -> bytes:
        """The call of acquire.lua."""
        account, question = self.account, self._question
        payload = encode_gauge(GaugeAcquired(question.feature_key, question.holder, question.units))
        return pack(
            *(b"EVALSHA", scripts.ACQUIRE.digest, 4, account.key, account.stream, *account.gauge_keys),
            *(clock_at(), snapshot_id, account.ref, question.feature_key, question.holder, question.units),
            *(question.ttl_seconds * MICROSECONDS, b"" if self._limit is None else self._limit, payload),
            *(self.services.settings.stream_max_entries, MAX_HOLDERS),
        )

    def answered(self, first: int, second: int) -> None:
        """It holds them: `first` units are held by all, `second` is when its time is over."""
        question, ends = self._question, to_datetime(second) if second else None
        answer = AcquireAnswer(
            question.feature_key,
            question.holder,
            acquired=True,
            units=question.units,
            used=first,
            limit=self._limit,
            expires_at=ends,
        )
        self._exchange.respond(200, _encoder.encode(answer))


class Releasing(Holding):
    """A holder that is to hold nothing: never refused for what the plan has become."""

    __slots__ = ()

    def command(self, snapshot_id: bytes) -> bytes:
        """The call of release.lua."""
        account, question = self.account, self._question
        payload = encode_gauge(GaugeReleased(question.feature_key, question.holder))
        return pack(
            *(b"EVALSHA", scripts.RELEASE.digest, 4, account.key, account.stream, *account.gauge_keys),
            *(clock_at(), snapshot_id, account.ref, question.feature_key, question.holder, payload),
            self.services.settings.stream_max_entries,
        )

    def answered(self, first: int, second: int) -> None:
        """Whether it held anything, and what is held by all now."""
        self._exchange.respond(200, _encoder.encode(ReleaseAnswer(bool(first), second, self._limit)))
