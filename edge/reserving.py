"""`POST /v1/reservations`: set credit aside for what is about to be used.

Decided as enforced usage is (edge/recording.py), and priced for good: what is committed later costs what it costs now.
"""

import asyncio
import secrets
from decimal import Decimal
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

import msgspec

from app.rules.credits import MICRO, from_micro
from app.rules.moments import to_rfc3339
from app.wire import ids, keys, scripts
from app.wire.codes import Code
from app.wire.fingerprint import reservation_fingerprint, reservation_mismatch
from app.wire.held import MAX_OPEN_RESERVATIONS, Facts, Opened, Place, encode_facts
from app.wire.reservations import ReservationOpening, encode_change
from edge.accounts import UNKNOWN_SNAPSHOT, Account
from edge.attempt import clock_at
from edge.auth import Principal
from edge.deciding import FLOOR_OF_ACCOUNT, STANDING, UNCOUNTED, Deciding, after_the_spool, floor_of, offered
from edge.decoding import Opening, header_key, read_opening, require_json
from edge.exchange import REPLAYED, Exchange
from edge.expiring import EXPIRED_AT_ONCE, expire_members
from edge.plans import Plan
from edge.recording import read_outcome
from edge.redis_link import Reply, pack
from edge.refusals import Refusal, invalid_value
from edge.reservations import PREFIX, Reservation
from edge.services import Services
from edge.usage import why_refused

_encoder = msgspec.json.Encoder(decimal_format="number")


class OpeningAnswer(msgspec.Struct):
    """The body of a 201."""

    reservation_id: str
    reserved: int | Decimal
    balance: int | Decimal
    expires_at: str


class _Priced(NamedTuple):
    """What the script is told of the price."""

    cost: int
    floor: bytes
    payload: bytes
    facts: bytes
    counting: tuple[bytes | int, ...]


def reserve(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Open a reservation. Raises Refusal."""
    require_json(exchange)
    key_of_head = header_key(exchange)
    opening = read_opening(exchange.body, key_of_head)
    if key_of_head is not None and opening.idempotency_key != key_of_head:
        raise invalid_value("idempotency_key", "and the header Idempotency-Key differ; send one of them")
    Reserving(services, services.accounts.get(principal, opening.end_user_id), opening, exchange).send()


class Reserving(Deciding):
    """One opening under way."""

    __slots__ = ("_exchange", "_facts", "_fingerprint", "_named", "_opening", "_place", "_reservation_id")

    def __init__(self, services: Services, account: Account, opening: Opening, exchange: Exchange) -> None:
        super().__init__(services, account)
        self._opening = opening
        self._exchange = exchange
        self._reservation_id = _reservation_id(account, opening)
        member = keys.due_member(account.environment_ref, self._reservation_id)
        self._place = Place(account.partition, account.ref, member)
        amount, properties = opening.amount, None if opening.properties is None else opening.properties.encode()
        self._fingerprint = reservation_fingerprint(
            amount.micro, opening.ttl_seconds, properties, in_credits=amount.in_credits
        )
        self._facts: tuple[Facts, bytes] | None = None
        """What is asked for, and as the hash will have it; None before it is priced."""
        self._named = EXPIRED_AT_ONCE
        """How many that are past due the script may name before it refuses."""

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def refused(self, refusal: Refusal) -> None:
        """Nothing was reserved."""
        self._exchange.refuse(refusal)

    def send(self) -> None:
        """Price it and run the script; where it is to be refused, look first whether that is right."""
        if self.account.ref in self.services.spool.waiting:
            self.refused(after_the_spool())
            return
        snapshot_id, now_at = self.account.snapshot_id, self.as_of(self.now_at())
        plan = self.services.plans.get(snapshot_id)
        try:
            command = self._unpriced(now_at) if plan is None else self._priced(plan, snapshot_id, now_at)
        except Refusal as refusal:
            self.aside(self._refuse_unless_seen(refusal, snapshot_id))
        else:
            self.services.redis.send(command, self, is_script=True)

    # ---- the command

    def _unpriced(self, now_at: int) -> bytes:
        """Nothing is known of the account yet: a snapshot that no account has, so the script answers the right one."""
        return self._command(now_at, UNKNOWN_SNAPSHOT, _Priced(0, FLOOR_OF_ACCOUNT, b"", b"", UNCOUNTED))

    def _priced(self, plan: Plan, snapshot_id: bytes, now_at: int) -> bytes:
        opening = self._opening
        offer = offered(plan.get(opening.feature_key), opening.feature_key, strictly=True)
        amount = opening.amount
        charge = offer.charge(0 if amount.in_credits else amount.micro, opening.properties, now_at)
        counting = self.counting(offer, charge, opening.feature_key)
        cost = charge.cost_micro() if not charge.is_counted else 0
        if amount.in_credits:
            counting, cost = (b"", counting[1], *UNCOUNTED[2:]), amount.micro
        facts = Facts(opening.feature_key, amount.in_credits, charge.units_micro, charge.price_id, charge.price)
        change = ReservationOpening(
            reservation_id=self._reservation_id,
            feature_key=facts.feature_key,
            units_micro=facts.units_micro,
            in_credits=facts.in_credits,
            price_id=facts.price_id,
            idempotency_key=opening.idempotency_key,
            properties=opening.properties,
        )
        content = encode_facts(facts)
        self._facts = facts, content
        priced = _Priced(cost, floor_of(offer.terms), encode_change(change), content, counting)
        return self._command(now_at, snapshot_id, priced)

    def _command(self, now_at: int, snapshot_id: bytes, priced: "_Priced") -> bytes:
        bounds, script_keys = self.services.bounds, self._place.script_keys
        return pack(
            *(b"EVALSHA", scripts.RESERVE.digest, len(script_keys), *script_keys, now_at, snapshot_id, priced.cost),
            *(self._opening.ttl_seconds * MICRO, priced.floor, self._fingerprint, self.account.ref, priced.payload),
            *(bounds.window_milliseconds, bounds.most_entries, *priced.counting),
            *(priced.facts, MAX_OPEN_RESERVATIONS, self._named),
        )

    # ---- the answer

    def received(self, reply: Reply) -> None:
        """Answer, or overcome what stands in the way."""
        match reply:
            case [b"ok", outcome]:
                self._decided(outcome, is_replayed=False)
            case [b"seen", asked, outcome]:
                self._replay(asked, outcome)
            case [b"due", *members]:
                self.overcome(self._expire(members))
            case [b"many"]:
                detail = f"A customer may have {MAX_OPEN_RESERVATIONS} open reservations; commit or release some."
                self.refused(Refusal(Code.TOO_MANY_RESERVATIONS, detail))
            case _:
                self.obstacle(reply)

    def _decided(self, outcome: bytes, *, is_replayed: bool) -> None:
        """`outcome` is '+reserved:available:due', or how it was refused: see the script's header."""
        headers = REPLAYED if is_replayed else b""
        shown_id = ids.show(PREFIX, self._reservation_id)
        if outcome[:1] != b"+":
            refusal = why_refused(read_outcome(shown_id, outcome, is_replayed=is_replayed))
            self._exchange.refuse(refusal, shown_id, headers)
            return
        amount, balance, due_at = map(int, outcome[1:].split(b":"))
        if self._facts is not None and not is_replayed:
            opened = Opened(self._place, *self._facts, amount)
            self.services.reservations.remember(Reservation(self._reservation_id, self.account, opened))
        answer = OpeningAnswer(shown_id, from_micro(amount), from_micro(balance), to_rfc3339(due_at))
        self._exchange.respond(HTTPStatus.CREATED, _encoder.encode(answer), headers)

    def _replay(self, asked: bytes, outcome: bytes) -> None:
        """`asked` is '' of a reservation that core put back: what was asked is not known any more."""
        differing = reservation_mismatch(asked, self._fingerprint) if asked else []
        if differing:
            detail = f"The idempotency key was used with other values of: {', '.join(differing)}. Use a new key."
            self.refused(Refusal(Code.IDEMPOTENCY_KEY_REUSED, detail, mismatch=differing))
        else:
            self._decided(outcome, is_replayed=True)

    async def _expire(self, members: list[bytes]) -> None:
        """Nobody is refused for credit that a reservation holds which is past due. Raises Refusal."""
        redis, bounds = self.services.redis, self.services.bounds
        if not await expire_members(redis, self.account.partition, members, clock_at(), bounds):
            self._named = 0  # nobody can end these now: they do not keep this one from its answer
        await self.patience.wait()

    async def _refuse_unless_seen(self, refusal: Refusal, snapshot_id: bytes) -> None:
        """Refuse where that is right: the key is new, and the account has the plan that the refusal was given for."""
        redis = self.services.redis
        (asked, outcome, reserved), standing = await asyncio.gather(
            redis.ask(b"HMGET", self._place.key, b"asked", b"opening", b"reserved"),
            redis.ask(b"HMGET", self.account.key, *STANDING),
        )
        if outcome is not None:
            self._replay(asked, outcome)
        elif reserved is not None:  # core put it back: the script answers that before it looks at plan or price
            redis.send(self._unpriced(clock_at()), self, is_script=True)
        else:
            self.refuse_where_right(refusal, snapshot_id, standing)


def _reservation_id(account: Account, opening: Opening) -> UUID:
    """The same for the same key, for ever; it names the customer's partition, so that it is found by its id alone."""
    if opening.idempotency_key is None:
        made = ids.uuid7(clock_at(), secrets.randbits(80))
    else:
        made = ids.derived_id(
            account.environment_ref,
            opening.end_user_id.encode(),
            b"reservation",
            opening.feature_key.encode(),
            opening.idempotency_key.encode(),
        )
    return ids.in_partition(made, account.partition)
