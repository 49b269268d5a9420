"""`POST /v1/reservations`: set credit aside for what is about to be used.

Decided as enforced usage is (edge/recording.py), and priced for good: what is committed later costs what it costs now.
"""

import asyncio
import secrets
from decimal import Decimal
from http import HTTPStatus
from uuid import UUID

import msgspec

from app.rules.credits import MAX_COST_MICRO, MICRO, from_micro
from app.rules.entitlement import OveragePolicy, Reason
from app.rules.moments import to_rfc3339
from app.rules.pricing import cost_micro
from app.wire import ids, keys, scripts
from app.wire.codes import Code
from app.wire.fingerprint import reservation_fingerprint, reservation_mismatch
from app.wire.held import MAX_OPEN_RESERVATIONS, Facts, Place, encode_facts
from app.wire.reservations import ReservationOpening, encode_change
from edge.accounts import UNKNOWN_SNAPSHOT, Account
from edge.attempt import STANDING, Attempt, clock_at
from edge.auth import Principal
from edge.checks import cost_too_large
from edge.decoding import Amount, Opening, header_key, read_opening, require_json
from edge.exchange import REPLAYED, Exchange
from edge.expiring import EXPIRED_AT_ONCE, expire_members
from edge.plans import Offer, Plan
from edge.recording import FLOOR_OF_ACCOUNT, NO_FLOOR, Outcome, no_access
from edge.redis import Reply, pack
from edge.refusals import Refusal, invalid_value
from edge.reservations import PREFIX, Reservation
from edge.services import Services
from edge.usage import insufficient_credits

_encoder = msgspec.json.Encoder(decimal_format="number")


class OpeningAnswer(msgspec.Struct):
    """The body of a 201."""

    reservation_id: str
    reserved: int | Decimal
    balance: int | Decimal
    expires_at: str


def reserve(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Open a reservation. Raises Refusal."""
    require_json(exchange)
    key_of_head = header_key(exchange)
    opening = read_opening(exchange.body, key_of_head)
    if key_of_head is not None and opening.idempotency_key != key_of_head:
        raise invalid_value("idempotency_key", "and the header Idempotency-Key differ; send one of them.")
    Reserving(services, services.accounts.get(principal, opening.end_user_id), opening, exchange).send()


class Reserving(Attempt):
    """One opening under way."""

    __slots__ = ("_exchange", "_facts", "_fingerprint", "_opening", "_place", "_reservation_id")

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
        self._facts: Facts | None = None

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self._exchange.request_id

    def refused(self, refusal: Refusal) -> None:
        """Nothing was reserved."""
        self._exchange.refuse(refusal)

    def send(self) -> None:
        """Price it and run the script; where it is to be refused, look first whether that is right."""
        snapshot_id = self.account.snapshot_id
        plan = self.services.plans.get(snapshot_id)
        try:
            command = self._unpriced() if plan is None else self._priced(plan, snapshot_id)
        except Refusal as refusal:
            self.aside(self._refuse_unless_seen(refusal, snapshot_id))
        else:
            self.services.redis.send(command, self, is_script=True)

    # ---- the command

    def _unpriced(self) -> bytes:
        """Nothing is known of the account yet: a snapshot that no account has, so the script answers the right one."""
        return self._command(UNKNOWN_SNAPSHOT, 0, FLOOR_OF_ACCOUNT, b"", b"")

    def _priced(self, plan: Plan, snapshot_id: bytes) -> bytes:
        opening = self._opening
        offer = plan.get(opening.feature_key)
        if offer is None:
            raise no_access(Reason.UNKNOWN_FEATURE, opening.feature_key)
        facts, cost = _pin(offer, opening.feature_key, opening.amount)
        self._facts = facts
        change = ReservationOpening(
            reservation_id=self._reservation_id,
            feature_key=facts.feature_key,
            units_micro=facts.units_micro,
            in_credits=facts.in_credits,
            price_id=facts.price_id,
            idempotency_key=opening.idempotency_key,
            properties=opening.properties,
        )
        floor = FLOOR_OF_ACCOUNT if offer.terms.overage_policy is OveragePolicy.BLOCK else NO_FLOOR
        return self._command(snapshot_id, cost, floor, encode_change(change), encode_facts(facts))

    def _command(self, snapshot_id: bytes, cost: int, floor: bytes, payload: bytes, facts: bytes) -> bytes:
        bounds, script_keys = self.services.bounds, self._place.script_keys
        return pack(
            *(b"EVALSHA", scripts.RESERVE.digest, len(script_keys), *script_keys, clock_at(), snapshot_id, cost),
            *(self._opening.ttl_seconds * MICRO, floor, self._fingerprint, self.account.ref, payload),
            *(bounds.window_milliseconds, bounds.most_entries, facts, MAX_OPEN_RESERVATIONS, EXPIRED_AT_ONCE),
        )

    # ---- the answer

    def received(self, reply: Reply) -> None:
        """Answer, or overcome what stands in the way."""
        match reply:
            case [b"ok", outcome]:
                self._decided(outcome, is_replayed=False)
            case [b"seen", asked, outcome]:
                self._replay(asked, outcome)
            case [b"due", at, *members]:
                self.overcome(self._expire(members, int(at)))
            case [b"many"]:
                detail = f"A customer may have {MAX_OPEN_RESERVATIONS} open reservations; commit or release some."
                self.refused(Refusal(Code.TOO_MANY_RESERVATIONS, detail))
            case _:
                self.obstacle(reply)

    def _decided(self, outcome: bytes, *, is_replayed: bool) -> None:
        """`outcome` is '+reserved:available:due', or '-cost:available' where it was refused for want of credit."""
        headers = REPLAYED if is_replayed else b""
        shown_id = ids.show(PREFIX, self._reservation_id)
        amount, balance, due_at = map(int, (outcome[1:] + b":0").split(b":")[:3])
        if outcome[:1] == b"-":
            refusal = insufficient_credits(
                Outcome(shown_id, is_accepted=False, cost_micro=amount, balance_micro=balance)
            )
            self._exchange.refuse(refusal, shown_id, headers)
            return
        if self._facts is not None and not is_replayed:
            known = Reservation(self._reservation_id, self.account, self._place, self._facts, amount)
            self.services.reservations.remember(known)
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

    async def _expire(self, members: list[bytes], at: int) -> None:
        """Nobody is refused for credit that a reservation holds which is past due. Raises Refusal."""
        await expire_members(self.services.redis, self.account.partition, members, at, self.services.bounds)
        await self.patience.wait()

    async def _refuse_unless_seen(self, refusal: Refusal, snapshot_id: bytes) -> None:
        """Refuse where that is right: the key is new, and the account has the plan that the refusal was given for."""
        redis, (account_key, _, reservation_key, _) = self.services.redis, self._place.script_keys
        (asked, outcome), standing = await asyncio.gather(
            redis.ask(b"HMGET", reservation_key, b"asked", b"opening"), redis.ask(b"HMGET", account_key, *STANDING)
        )
        if outcome is not None:
            self._replay(asked, outcome)
        else:
            self.refuse_of_plan(refusal, snapshot_id, standing)


def _pin(offer: Offer, feature_key: str, amount: Amount) -> tuple[Facts, int]:
    """What is reserved, at the price of this moment, and what it costs. Raises Refusal."""
    terms = offer.terms
    if terms.price is None or terms.price_id is None or offer.refusal is not None:
        raise no_access(offer.refusal or Reason.FEATURE_NOT_IN_PLAN, feature_key)
    units_micro = 0 if amount.in_credits else amount.micro
    facts = Facts(feature_key, amount.in_credits, units_micro, terms.price_id, terms.price)
    cost = amount.micro if amount.in_credits else cost_micro(terms.price, units_micro)
    if cost > MAX_COST_MICRO:
        raise cost_too_large(cost)
    return facts, cost


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
