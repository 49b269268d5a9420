"""Taking usage in: price it with the plan that the customer is believed to have, and let one script decide.

The script accepts, refuses or replays in one atomic step whose effects are on disk before its answer is here. What
would be refused without asking it (a feature that is not there, a price beyond every bound, a timestamp outside the
window) is refused only after Redis was asked whether the key was used before, and whether the plan is the right one.

What cannot be decided now, because a store or a process is not there, goes to the spool, unless it is to be enforced.
"""

import asyncio
import secrets
from typing import Any, Protocol
from uuid import UUID

import msgspec

from app.wire import ids, keys, scripts
from app.wire.codes import Code
from app.wire.complaints import TEST_CLOCK, THE_CLOCK, now_in_words
from app.wire.events import UsagePayload, encode_usage
from app.wire.fingerprint import mismatch, usage_fingerprint
from edge import metrics
from edge.accounts import UNKNOWN_SNAPSHOT, Account
from edge.attempt import clock_at
from edge.deciding import FLOOR_OF_ACCOUNT, STANDING, UNCOUNTED, Deciding, after_the_spool, floor_of, offered
from edge.decoding import UsageEvent
from edge.plans import Plan
from edge.redis_link import pack
from edge.refusals import Refusal
from edge.services import Services
from edge.spool_format import SpooledUsage

MAX_AHEAD_MICROSECONDS = 5 * 60 * 1_000_000
"""How far a client's clock may be ahead of ours."""

BELIEVED_MICROSECONDS = 15 * 60 * 1_000_000
"""How long after an account was last decided on its plan is believed to be the same, while Redis cannot be asked."""

SPOOLED_CODES = (Code.STORE_UNAVAILABLE, Code.ACCOUNT_UNAVAILABLE, Code.ACCOUNT_LOADING)
"""What usage is spooled for, unless it is to be enforced: it may be decided on later."""

_OUTCOMES = ("accepted", "replayed", "spooled")
_USAGE = metrics.counter(
    "quotastack_edge_usage_total",
    "Usage events by what became of them, those of batches and of the spool among them",
    ["outcome"],
    [*((outcome,) for outcome in _OUTCOMES), *((code.value,) for code in Code)],
)
_SPOOLED_ROW = _USAGE.row("spooled")
_REFUSED_ROWS = {code: _USAGE.row(code.value) for code in Code}
_DECIDED_ROWS = {
    **{(kind, True): _USAGE.row("replayed") for kind in (b"+", b"-", b"!")},
    (b"+", False): _USAGE.row("accepted"),
    (b"-", False): _USAGE.row(Code.INSUFFICIENT_CREDITS.value),
    (b"!", False): _USAGE.row(Code.LIMIT_REACHED.value),
}


class _Priced(msgspec.Struct, frozen=True):
    """What the event comes to by one plan snapshot."""

    snapshot_id: bytes
    cost_micro: int
    floor: bytes
    payload: bytes
    counting: tuple[bytes | int, ...]


_UNPRICED = _Priced(UNKNOWN_SNAPSHOT, 0, FLOOR_OF_ACCOUNT, b"", UNCOUNTED)
"""Nothing is known of the account yet: a snapshot that no account has, so the script answers the right one."""


class LimitReached(msgspec.Struct, frozen=True):
    """Why units were not taken in: what the period allows and has used, in micro-units, and when it ends."""

    limit_micro: int
    used_micro: int
    resets_at: int


class Outcome(msgspec.Struct, frozen=True):
    """What was decided on an event, now or when its key was first used. Amounts in micro-credits."""

    event_id: str
    is_accepted: bool
    cost_micro: int
    balance_micro: int
    """After the event; where it was refused, what could be spent."""
    overage_micro: int = 0
    is_replayed: bool = False
    limit: LimitReached | None = None
    """Where it was refused for the limit, and not for want of credit."""


def read_outcome(event_id: str, outcome: bytes, *, is_replayed: bool) -> Outcome:
    """What a script has decided: '+cost:available:overage', or how it was refused (the header of accept.lua)."""
    kind, (cost, balance, *more) = outcome[:1], map(int, outcome[1:].split(b":"))
    overage = more[0] if kind == b"+" else 0
    limit = LimitReached(more[1], more[0], more[2]) if kind == b"!" else None
    return Outcome(event_id, kind == b"+", cost, balance, overage, is_replayed, limit)


class Recipient(Protocol):
    """Who is told what became of an event; exactly one of the three is called, once."""

    @property
    def request_id(self) -> bytes:
        """For the log."""
        ...

    def decided(self, outcome: Outcome) -> None:
        """The event was accepted, or refused for the limit or for want of credit; all are remembered."""
        ...

    def spooled(self, event_id: UUID) -> None:
        """The event is kept, and decided on later."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """Nothing was recorded."""
        ...


class Recording(Deciding):
    """One usage event under way; `event_id` where it has one already."""

    __slots__ = ("_asked_at", "_event", "_event_id", "_fingerprint", "_recipient", "_seen_key")

    def __init__(
        self,
        services: Services,
        account: Account,
        event: UsageEvent,
        recipient: Recipient,
        event_id: UUID | None = None,
    ) -> None:
        super().__init__(services, account)
        self._event = event
        self._event_id = event_id or _event_id(account, event)
        properties = None if event.properties is None else event.properties.encode()
        self._fingerprint = usage_fingerprint(event.units_micro, event.occurred_at, properties, enforce=event.enforce)
        self._seen_key = keys.seen(account.partition, account.environment_ref, self._event_id)
        self._recipient = recipient

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._recipient.request_id

    def refused(self, refusal: Refusal) -> None:
        """Nothing was recorded, or nobody knows whether it was; the spool takes what may be decided on later."""
        if refusal.code in SPOOLED_CODES and not self._event.enforce:
            self._spool()
        else:
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        _USAGE.add(_REFUSED_ROWS[refusal.code])
        self._recipient.refused(refusal)

    def send(self) -> None:
        """Price the event and run the script; where it is to be refused, look first whether that is right."""
        snapshot_id, self._asked_at = self.account.snapshot_id, clock_at()
        now_at = self.as_of(self.now_at())
        plan = self.services.plans.get(snapshot_id)
        try:
            self._check_timestamp(now_at)
            command = self._accept(now_at, _UNPRICED if plan is None else self._priced(plan, snapshot_id, now_at))
        except Refusal as refusal:
            self.aside(self._refuse_unless_seen(refusal, snapshot_id))
        else:
            if self.account.ref in self.services.spool.waiting and self._joins_spool():
                return
            self.services.redis.send(command, self, is_script=True)

    # ---- the spool

    def _joins_spool(self) -> bool:
        """Earlier usage of the customer is in the spool: it comes first."""
        if self._event.enforce:
            self._refuse(after_the_spool())
        else:
            self._spool()
        return True

    def _spool(self) -> None:
        _USAGE.add(_SPOOLED_ROW)
        event = self._event
        usage = SpooledUsage(
            self.account.ref,
            self._event_id,
            self._as_of,
            event.feature_key,
            event.units_micro,
            event.occurred_at,
            event.idempotency_key,
            event.properties,
        )
        self.services.spool.take(usage, self._recipient)

    # ---- the command

    def _check_timestamp(self, now_at: int) -> None:
        occurred_at = self._event.occurred_at
        if occurred_at is None:
            return
        window_seconds = self.services.settings.idempotency_window_seconds
        if not now_at - window_seconds * 1_000_000 <= occurred_at <= now_at + MAX_AHEAD_MICROSECONDS:
            now = now_in_words(now_at, THE_CLOCK if self.account.frozen_at is None else TEST_CLOCK)
            range_text = f"at most {window_seconds} seconds before {now}, and at most 300 seconds after it"
            detail = f"timestamp (of a CloudEvent: time) must lie {range_text}."
            raise Refusal(Code.TIMESTAMP_OUT_OF_RANGE, detail)

    def _priced(self, plan: Plan, snapshot_id: bytes, now_at: int) -> _Priced:
        event = self._event
        offer = offered(plan.get(event.feature_key), event.feature_key, strictly=event.enforce)
        terms = offer.terms
        charge = offer.charge(event.units_micro, event.properties, now_at)
        counting = self.counting(offer, charge, event.feature_key)
        cost = 0 if charge.is_counted else charge.cost_micro()
        payload = UsagePayload(
            self._event_id,
            event.feature_key,
            event.units_micro,
            charge.price_id,
            event.occurred_at,
            event.idempotency_key,
            event.properties,
        )
        return _Priced(snapshot_id, cost, floor_of(terms), encode_usage(payload), counting)

    def _accept(self, now_at: int, priced: _Priced) -> bytes:
        account, settings = self.account, self.services.settings
        return pack(
            *(b"EVALSHA", scripts.ACCEPT.digest, 4, account.key, account.stream, self._seen_key, account.used_key),
            *(now_at, priced.snapshot_id, priced.cost_micro, int(self._event.enforce), priced.floor),
            *(self._fingerprint, account.ref, priced.payload),
            *(settings.idempotency_window_seconds * 1000, settings.stream_max_entries),
            *priced.counting,
        )

    # ---- the answer

    def received(self, reply: list[Any]) -> None:
        """Tell the recipient, or overcome what stands in the way."""
        match reply[0]:
            case b"ok":
                self._decided(reply[1], is_replayed=False)
            case b"seen":
                self._replay(reply[1])
            case _:
                self.obstacle(reply)

    def _decided(self, outcome: bytes, *, is_replayed: bool) -> None:
        if not is_replayed:  # a replay is answered whatever plan the account has by now
            self.account.decided_at = self._asked_at
        _USAGE.add(_DECIDED_ROWS[outcome[:1], is_replayed])
        decided = read_outcome(ids.show("evt", self._event_id), outcome, is_replayed=is_replayed)
        self._recipient.decided(decided)

    def _replay(self, stored: bytes) -> None:
        """`stored` is a length byte, the fingerprint of what was asked, the outcome."""
        start = 1 + stored[0]
        differing = mismatch(stored[1:start], self._fingerprint)
        if differing:
            detail = f"The idempotency key was used with other values of: {', '.join(differing)}. Use a new key."
            self.refused(Refusal(Code.IDEMPOTENCY_KEY_REUSED, detail, mismatch=differing))
        else:
            self._decided(stored[start:], is_replayed=True)

    async def _refuse_unless_seen(self, refusal: Refusal, snapshot_id: bytes) -> None:
        """Refuse where that is right: the key is new, and the account has the plan that the refusal was given for."""
        redis = self.services.redis
        try:
            stored, standing = await asyncio.gather(
                redis.ask(b"GET", self._seen_key), redis.ask(b"HMGET", self.account.key, *STANDING)
            )
        except Refusal as unasked:
            self._refuse_unasked(refusal, unasked)
            return
        if stored is not None:
            self._replay(stored)
        else:
            self.refuse_where_right(refusal, snapshot_id, standing)

    def _refuse_unasked(self, refusal: Refusal, unasked: Refusal) -> None:
        """Redis cannot say whether the refusal is right: it is given where the clock or a plan seen lately says so."""
        is_believed = believes_plan(self.account, self._asked_at)
        if not self._event.enforce and (is_believed or refusal.code is Code.TIMESTAMP_OUT_OF_RANGE):
            self._refuse(refusal)
        else:
            self.refused(unasked)


def believes_plan(account: Account, at: int) -> bool:
    """Whether the plan that the account had when it was last decided on is taken to be its plan, unasked."""
    return at - account.decided_at <= BELIEVED_MICROSECONDS


def _event_id(account: Account, event: UsageEvent) -> UUID:
    """The same for the same key, for ever; without a key every event is another."""
    if event.idempotency_key is None:
        return ids.uuid7(clock_at(), secrets.randbits(80))
    return ids.derived_id(
        account.environment_ref,
        event.end_user_id.encode(),
        b"usage",
        event.feature_key.encode(),
        event.idempotency_key.encode(),
    )
