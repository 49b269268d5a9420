"""Taking usage in: price it with the plan that the customer is believed to have, and let one script decide.

The script accepts, refuses or replays in one atomic step whose effects are on disk before its answer is here. What
would be refused without asking it (a feature that is not there, a price beyond every bound, a timestamp outside the
window) is refused only after Redis was asked whether the key was used before, and whether the plan is the right one.
"""

import asyncio
import secrets
from typing import Any, Protocol
from uuid import UUID

import msgspec

from app.rules.credits import MAX_COST_MICRO
from app.rules.entitlement import FeatureKind, OveragePolicy, Reason
from app.rules.pricing import cost_micro
from app.wire import ids, keys, scripts
from app.wire.codes import Code
from app.wire.events import UsagePayload, encode_usage
from app.wire.fingerprint import mismatch, usage_fingerprint
from edge.accounts import UNKNOWN_SNAPSHOT, Account
from edge.attempt import Attempt, clock_at
from edge.checks import cost_too_large
from edge.decoding import UsageEvent
from edge.plans import Plan
from edge.redis import pack
from edge.refusals import Refusal, no_access, wrong_kind
from edge.services import Services

MAX_AHEAD_MICROSECONDS = 5 * 60 * 1_000_000
"""How far a client's clock may be ahead of ours."""

_FLOOR_OF_ACCOUNT = b""
_NO_FLOOR = b"-"


class Outcome(msgspec.Struct, frozen=True):
    """What was decided on an event, now or when its key was first used. Amounts in micro-credits."""

    event_id: str
    is_accepted: bool
    cost_micro: int
    balance_micro: int
    """After the event; where it was refused, what could be spent."""
    overage_micro: int
    is_replayed: bool


class Recipient(Protocol):
    """Who is told what became of an event; exactly one of the two is called, once."""

    @property
    def request_id(self) -> bytes:
        """For the log."""
        ...

    def decided(self, outcome: Outcome) -> None:
        """The event was accepted, or refused for want of credit; both are remembered."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """Nothing was recorded."""
        ...


class Recording(Attempt):
    """One usage event under way."""

    __slots__ = ("_event", "_event_id", "_fingerprint", "_recipient", "_seen_key")

    def __init__(self, services: Services, account: Account, event: UsageEvent, recipient: Recipient) -> None:
        super().__init__(services, account)
        self._event = event
        self._event_id = _event_id(account, event)
        properties = None if event.properties is None else event.properties.encode()
        self._fingerprint = usage_fingerprint(event.units_micro, event.occurred_at, properties, enforce=event.enforce)
        self._seen_key = keys.seen(account.partition, account.environment_ref, self._event_id)
        self._recipient = recipient

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._recipient.request_id

    def refused(self, refusal: Refusal) -> None:
        """Nothing was recorded."""
        self._recipient.refused(refusal)

    def send(self) -> None:
        """Price the event and run the script; where it is to be refused, look first whether that is right."""
        snapshot_id, now_at = self.account.snapshot_id, clock_at()
        plan = self.services.plans.get(snapshot_id)
        try:
            self._check_timestamp(now_at)
            command = self._unpriced(now_at) if plan is None else self._priced(plan, snapshot_id, now_at)
        except Refusal as refusal:
            self.aside(self._refuse_unless_seen(refusal, snapshot_id))
        else:
            self.services.redis.send(command, self, is_script=True)

    # ---- the command

    def _check_timestamp(self, now_at: int) -> None:
        occurred_at = self._event.occurred_at
        if occurred_at is None:
            return
        window_seconds = self.services.settings.idempotency_window_seconds
        if not now_at - window_seconds * 1_000_000 <= occurred_at <= now_at + MAX_AHEAD_MICROSECONDS:
            detail = f"timestamp must lie within the last {window_seconds} seconds, and at most 300 seconds ahead."
            raise Refusal(Code.TIMESTAMP_OUT_OF_RANGE, detail)

    def _unpriced(self, now_at: int) -> bytes:
        """Nothing is known of the account yet: a snapshot that no account has, so the script answers the right one."""
        return self._accept(now_at, UNKNOWN_SNAPSHOT, 0, _FLOOR_OF_ACCOUNT, b"")

    def _priced(self, plan: Plan, snapshot_id: bytes, now_at: int) -> bytes:
        event = self._event
        offer = plan.get(event.feature_key)
        if offer is None:
            raise no_access(Reason.UNKNOWN_FEATURE, event.feature_key)
        terms = offer.terms
        if terms.kind is not FeatureKind.METERED:
            raise wrong_kind(Code.FEATURE_NOT_METERED, event.feature_key, terms.kind)
        if event.enforce and offer.refusal is not None:
            raise no_access(offer.refusal, event.feature_key)
        if terms.price is None or terms.price_id is None:
            is_without = offer.refusal is Reason.NO_SUBSCRIPTION
            raise no_access(Reason.NO_SUBSCRIPTION if is_without else Reason.FEATURE_NOT_IN_PLAN, event.feature_key)
        cost = cost_micro(terms.price, event.units_micro)
        if cost > MAX_COST_MICRO:
            raise cost_too_large(cost)
        payload = UsagePayload(
            self._event_id,
            event.feature_key,
            event.units_micro,
            terms.price_id,
            event.occurred_at,
            event.idempotency_key,
            event.properties,
        )
        floor = _FLOOR_OF_ACCOUNT if terms.overage_policy is OveragePolicy.BLOCK else _NO_FLOOR
        return self._accept(now_at, snapshot_id, cost, floor, encode_usage(payload))

    def _accept(self, now_at: int, snapshot_id: bytes, cost: int, floor: bytes, payload: bytes) -> bytes:
        account, settings = self.account, self.services.settings
        return pack(
            *(b"EVALSHA", scripts.ACCEPT.digest, 3, account.key, account.stream, self._seen_key),
            *(now_at, snapshot_id, cost, int(self._event.enforce), floor, self._fingerprint, account.ref, payload),
            *(settings.idempotency_window_seconds * 1000, settings.stream_max_entries),
        )

    # ---- the answer

    def received(self, reply: list[Any]) -> None:
        """Tell the recipient, or overcome what stands in the way."""
        match reply[0]:
            case b"ok":
                self._decided(reply[1], is_replayed=False)
            case b"seen":
                self._replay(reply[1])
            case b"snapshot":
                self.believe(reply[1])
            case b"miss":
                self.overcome(self.load_account())
            case b"wait":
                self.overcome(self.wait())
            case b"backlog" | b"full":
                self.refused(Refusal(Code.BACKLOG, "More usage is waiting to be posted than may wait; try again."))
            case b"range":
                detail = "The balance would leave the range that can be kept exactly."
                self.refused(Refusal(Code.BALANCE_OUT_OF_RANGE, detail))
            case other:
                raise UnexpectedReply(other)

    def _decided(self, outcome: bytes, *, is_replayed: bool) -> None:
        """`outcome` is '+cost:available:overage', or '-cost:available' where it was refused for want of credit."""
        cost, balance, overage = map(int, (outcome[1:] + b":0").split(b":")[:3])
        event_id = ids.show("evt", self._event_id)
        self._recipient.decided(Outcome(event_id, outcome[:1] == b"+", cost, balance, overage, is_replayed))

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
        redis, account = self.services.redis, self.account
        stored, (snapshot, last_at, valid_until) = await asyncio.gather(
            redis.ask(b"GET", self._seen_key),
            redis.ask(b"HMGET", account.key, b"snapshot", b"last_at", b"valid_until"),
        )
        if stored is not None:
            self._replay(stored)
        elif snapshot is None:
            self.overcome(self.load_account())
        elif max(clock_at(), int(last_at)) >= int(valid_until):
            self.overcome(self.tick())
        elif snapshot != snapshot_id:
            self.believe(snapshot)
        else:
            self.refused(refusal)


class UnexpectedReply(Exception):
    """The script answered what its header does not say."""


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
