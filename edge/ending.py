"""`POST /v1/reservations/{id}/commit | release | extend` and `GET /v1/reservations/{id}`.

The first end is the only one, and one script decides which that is. A call that comes again is answered again; one that
comes after another end is told which. A commit of what has expired is usage, marked late.
"""

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from app.rules.credits import MICRO, from_micro
from app.rules.moments import NEVER_AT, to_rfc3339
from app.wire import scripts
from app.wire.codes import Code
from app.wire.held import WHAT_IT_IS, Ending, Facts, HeldState, end_arguments, read_opened
from app.wire.reservations import ReservationExtension, ReservationState, encode_change
from edge.attempt import Attempt, clock_at
from edge.auth import Principal
from edge.charging import Charge
from edge.decoding import Amount, read_commit, read_extension, read_nothing, refuse_query, require_json
from edge.exchange import ID_SEGMENT, REPLAYED, Exchange
from edge.expiring import expire
from edge.redis_link import Reply, pack
from edge.refusals import Refusal
from edge.reservations import Reservation, unknown_reservation
from edge.services import Services

_encoder = msgspec.json.Encoder(decimal_format="number")


class EndAnswer(msgspec.Struct):
    """The body of a 200 to a commit or a release. `released` is what comes back of what was reserved."""

    reservation_id: str
    state: ReservationState
    charged: int | Decimal
    released: int | Decimal
    balance: int | Decimal
    late: bool


class ExtensionAnswer(msgspec.Struct):
    """The body of a 200 to an extension."""

    reservation_id: str
    state: ReservationState
    expires_at: str


class View(msgspec.Struct):
    """All that is known of a reservation. `charged` and `released` are null while it is open, `units` of credits."""

    reservation_id: str
    state: ReservationState
    end_user_id: str
    feature_key: str
    units: int | Decimal | None
    reserved: int | Decimal
    charged: int | Decimal | None
    released: int | Decimal | None
    late: bool
    expires_at: str


def commit(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Charge what was really used. Raises Refusal."""
    _look_at_body(exchange)
    sent = read_commit(exchange.body)
    _with_reservation(
        services,
        exchange,
        principal,
        lambda found: EndingCall(services, found, _commit_of(found, sent), exchange),
    )


def release(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Give everything back. Raises Refusal."""
    _look_at_body(exchange)
    read_nothing(exchange.body)
    ending = Ending(ReservationState.RELEASED)
    _with_reservation(services, exchange, principal, lambda found: EndingCall(services, found, ending, exchange))


def extend(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Have it fall due later. Raises Refusal."""
    _look_at_body(exchange)
    ttl_seconds = read_extension(exchange.body)
    _with_reservation(services, exchange, principal, lambda found: Extending(services, found, ttl_seconds, exchange))


def show(services: Services, exchange: Exchange, principal: Principal) -> None:
    """Show it. Raises Refusal."""
    refuse_query(exchange)
    _with_reservation(services, exchange, principal, lambda found: Showing(services, found, exchange))


def _look_at_body(exchange: Exchange) -> None:
    """Raises Refusal where there is a query, or a body that is something else than JSON. None has no type."""
    if exchange.body:
        require_json(exchange)
    else:
        refuse_query(exchange)


def _with_reservation(
    services: Services, exchange: Exchange, principal: Principal, make: Callable[[Reservation], "ReservationCall"]
) -> None:
    """Begin the call, at once where this worker knows the reservation. Raises Refusal.

    What it knows may be older than the reservation (wire.held): before that is refused, it is looked up.
    """
    reservation_id = services.reservations.parse(exchange.path.split(b"/")[ID_SEGMENT])
    known, call = services.reservations.get(principal, reservation_id), None

    def look_up() -> None:
        services.start(_find_first(services, exchange, principal, reservation_id, make))

    if known is not None:
        with suppress(Refusal):
            call = make(known)
    if call is None:
        look_up()
    else:
        call.look_up = look_up
        call.send()


async def _find_first(
    services: Services,
    exchange: Exchange,
    principal: Principal,
    reservation_id: UUID,
    make: Callable[[Reservation], "ReservationCall"],
) -> None:
    try:
        call = make(await services.reservations.find(principal, reservation_id))
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets its answer
        exchange.fail(error)
    else:
        call.send()


def _commit_of(reservation: Reservation, sent: Amount | None) -> Ending:
    """What is committed, priced as it was reserved. Raises Refusal."""
    facts = reservation.facts
    if sent is None:
        sent = Amount(reservation.opened.reserved_micro if facts.in_credits else facts.units_micro, facts.in_credits)
    if sent.in_credits is not facts.in_credits:
        raise _measure_mismatch(facts)
    if sent.in_credits:
        return Ending(ReservationState.COMMITTED, sent.micro, sent.micro)
    charge = Charge(facts.price_id, facts.price, sent.micro, NEVER_AT)
    charge.tiers()  # refuses fractions where only whole units are counted
    return Ending(ReservationState.COMMITTED, sent.micro, 0 if charge.is_counted else charge.cost_micro())


class ReservationCall(Attempt):
    """One call about one reservation."""

    __slots__ = ("exchange", "is_on_time", "look_up", "reservation")

    def __init__(self, services: Services, reservation: Reservation, exchange: Exchange) -> None:
        super().__init__(services, reservation.account)
        self.reservation = reservation
        self.exchange = exchange
        self.is_on_time = False
        """It was found to be past due by our clock only, and not by its account's."""
        self.look_up: Callable[[], None] | None = None
        """Begins the call anew with what Redis has of the reservation; None where it began so."""

    @property
    def request_id(self) -> bytes:
        """For the log."""
        return self.exchange.request_id

    def refused(self, refusal: Refusal) -> None:
        """Nothing has changed."""
        self.exchange.refuse(refusal)

    def respond(self, answer: msgspec.Struct, headers: bytes = b"") -> None:
        """200."""
        self.exchange.respond(200, _encoder.encode(answer), headers)

    def run(self, script: scripts.Script, *arguments: bytes | int | str) -> None:
        """Run a script about this reservation."""
        script_keys = self.reservation.opened.place.script_keys
        command = pack(b"EVALSHA", script.digest, len(script_keys), *script_keys, *arguments)
        self.services.redis.send(command, self, is_script=True)

    def obstacle(self, reply: Reply) -> None:
        """What every script about a reservation may answer besides. Raises UnexpectedReply."""
        match reply:
            case [b"ended", state]:
                self.refused(_ended(state.decode()))
            case [b"unknown"]:
                self.overcome(self.load_reservation())
            case [b"other"] if self.look_up is not None:
                self.look_up()
            case [b"other"]:
                self.refused(Refusal(Code.ACCOUNT_UNAVAILABLE, "The reservation is being opened anew; try again."))
            case _:
                super().obstacle(reply)

    async def load_reservation(self) -> None:
        """Redis has lost it since this worker met it. Raises Refusal."""
        self.patience.detour()
        await self.services.reservations.load(self.account.environment_id, self.reservation.reservation_id)

    async def expire(self) -> None:
        """It is past due. Raises Refusal."""
        self.patience.detour()
        reservation, services = self.reservation, self.services
        answer = await expire(services.redis, reservation.opened, clock_at(), services.bounds)
        self.is_on_time = answer in {b"open", b"apart"}


class EndingCall(ReservationCall):
    """A commit or a release under way."""

    __slots__ = ("_ending",)

    def __init__(self, services: Services, reservation: Reservation, ending: Ending, exchange: Exchange) -> None:
        super().__init__(services, reservation, exchange)
        self._ending = ending

    def send(self) -> None:
        """Run the script."""
        reservation, bounds = self.reservation, self.services.bounds
        arguments = end_arguments(reservation.opened, self._ending, clock_at(), bounds)
        self.run(scripts.END_RESERVATION, *arguments)

    def received(self, reply: Reply) -> None:
        """Answer, or overcome what stands in the way."""
        match reply:
            case [b"ok", outcome]:
                self._ended(outcome, b"")
            case [b"again", outcome]:
                self._ended(outcome, REPLAYED)
            case _:
                self.obstacle(reply)

    def _ended(self, outcome: bytes, headers: bytes) -> None:
        """`outcome` is 'used:released:available:late'."""
        charged, released, balance, late = map(int, outcome.split(b":"))
        amounts = map(from_micro, (charged, released, balance))
        state = ReservationState.EXPIRED if late else self._ending.verb
        self.respond(EndAnswer(self.reservation.shown_id, state, *amounts, late=bool(late)), headers)


class Extending(ReservationCall):
    """An extension under way."""

    __slots__ = ("_ttl_seconds",)

    def __init__(self, services: Services, reservation: Reservation, ttl_seconds: int, exchange: Exchange) -> None:
        super().__init__(services, reservation, exchange)
        self._ttl_seconds = ttl_seconds

    def send(self) -> None:
        """Run the script."""
        reservation, bounds = self.reservation, self.services.bounds
        change = ReservationExtension(
            reservation_id=reservation.reservation_id, feature_key=reservation.facts.feature_key
        )
        head = (clock_at(), self._ttl_seconds * MICRO, self.account.ref)
        self.run(scripts.EXTEND_RESERVATION, *head, encode_change(change), bounds.most_entries)

    def received(self, reply: Reply) -> None:
        """Answer, or overcome what stands in the way."""
        match reply:
            case [b"ok", due]:
                expires_at = to_rfc3339(int(due))
                self.respond(ExtensionAnswer(self.reservation.shown_id, ReservationState.OPEN, expires_at))
            case [b"due"]:
                self.overcome(self.expire())
            case _:
                self.obstacle(reply)


class Showing(ReservationCall):
    """A question about a reservation under way."""

    __slots__ = ()

    def send(self) -> None:
        """Read what Redis holds of it."""
        key = self.reservation.opened.place.key
        self.services.redis.send(pack(b"HMGET", key, *WHAT_IT_IS, b"due", b"ended", b"late"), self)

    def received(self, reply: Reply) -> None:
        """Answer; one that is past due is expired first."""
        state, _, facts, reserved, due, ended, late = reply
        if state is None:
            self.overcome(self.load_reservation())
        elif state == HeldState.REFUSED.encode():
            self.refused(unknown_reservation())
        elif state == ReservationState.OPEN.encode() and clock_at() >= int(due) and not self.is_on_time:
            self.overcome(self.expire())
        else:
            opened = read_opened(self.reservation.opened.place, facts, reserved)
            known = Reservation(self.reservation.reservation_id, self.account, opened)
            self.respond(_view(known, state.decode(), int(due), late or ended))


def _view(reservation: Reservation, state: str, due_at: int, outcome: bytes | None) -> View:
    facts = reservation.facts
    charged, released, _, late = (None, None, None, 0) if outcome is None else map(int, outcome.split(b":"))
    return View(
        reservation.shown_id,
        ReservationState(state),
        reservation.account.end_user_id,
        facts.feature_key,
        None if facts.in_credits else from_micro(facts.units_micro),
        from_micro(reservation.opened.reserved_micro),
        None if charged is None else from_micro(charged),
        None if released is None else from_micro(released),
        bool(late),
        to_rfc3339(due_at),
    )


def _ended(state: str) -> Refusal:
    detail = f"The reservation is {state} already; the first end is the only one."
    context: dict[str, Any] = {"state": state}
    return Refusal(Code.RESERVATION_ENDED, detail, context=context)


def _measure_mismatch(facts: Facts) -> Refusal:
    reserved, sent = ("credits", "units") if facts.in_credits else ("units", "credits")
    detail = (
        f"The reservation is one of {reserved}, so {sent} cannot be committed; send {reserved}, or nothing for all."
    )
    return Refusal(Code.MEASURE_MISMATCH, detail)
