"""The product without its processes: the models of the scripts, the real `post_batch`, rows, and one clock.

The scripts' models agree with the scripts (tests/wire); the rows stand for Postgres. What the reference cannot know,
ticks and what reaches the edge, it is told as it happens.
"""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

from app.rules.burndown import Block
from app.wire import keys
from app.wire.events import StreamEntry, UsagePayload, encode_usage, parse_entry, show_stream_id
from app.wire.ids import derived_id
from app.wire.orders import Order, encode_order
from app.wire.reservations import (
    ReservationEnd,
    ReservationExtension,
    ReservationOpening,
    ReservationState,
    encode_change,
)
from tests.ledger_model.customer import Answer, Ended
from tests.ledger_model.one_by_one import Flusher
from tests.ledger_model.reference import Reference
from tests.ledger_model.rows import SNAPSHOT, Rows, ref_of
from tests.wire import reservation_models as reservations
from tests.wire import script_models as scripts
from tests.wire.reservation_models import End, Extend, Reserve
from tests.wire.script_models import NOTHING_YET, Accept, Held, Load, Memory, Publish

INCARNATION = "1"
PRICE_ID = UUID(int=1)
ATTEMPTS = 3
HOLD = "hold"
"""What the keys of reservations begin with."""
Logged = StreamEntry | tuple[str, str, Block, str]
"""An entry, or what `Rows.grant` was called with."""


def event_id(who: str, key: str) -> UUID:
    """The id of usage under a key, or of a reservation, which is its commit's."""
    kind = b"reservation" if key.startswith(HOLD) else b"usage"
    return derived_id(kind, who.encode(), key.encode())


def block_id(name: str) -> UUID:
    """The id of a grant's block."""
    return derived_id(b"block", name.encode())


def order_id(name: str) -> UUID:
    """The id of an order."""
    return derived_id(b"order", name.encode())


class Parts:
    """One partition. `reference` hears of ticks and of what the edge learns; `reached` counts the rules of flushing."""

    def __init__(self, names: list[str], flusher: Flusher, reference: Reference, reached: Counter[str]) -> None:
        self.now = 1
        self.is_up = True
        """Whether the flusher runs."""
        self.rows, self.memory = Rows(), Memory(meta={"incarnation": INCARNATION})
        self.log: list[Logged] = []
        """Grants and entries in the order in which they came."""
        self._flusher, self._reference, self._reached = flusher, reference, reached
        self._cursor = NOTHING_YET
        self._unpublished: set[bytes] = set()
        self._owners: dict[UUID, tuple[str, str, str]] = {}
        """Of reservations: (customer, key, feature)."""
        for who in names:
            self.rows.open(who)
            ref = ref_of(who)
            scripts.load_begin(self.memory, ref, b"token")
            scripts.load(self.memory, Load(self.rows.state(ref), b"token", INCARNATION))

    # ---- core

    def grant(self, who: str, name: str, block: Block, source: str) -> None:
        """Credit is committed; what follows is `publish`, unless core dies in between."""
        self.rows.grant(who, name, block, source)
        self.log.append((who, name, block, source))

    def next_revision(self, who: str) -> int:
        """The revision to which core's next change raises the account."""
        return self.rows.accounts[ref_of(who)].revision + 1

    def publish(self, who: str) -> None:
        """The ledger's figures reach the edge, with the word of how far the stream is posted only from the flusher."""
        self._publish(ref_of(who), "")

    def order(self, who: str, order: Order) -> None:
        """Core leaves an order; the flusher, where it runs, carries it out at once."""
        assert scripts.order(self.memory, ref_of(who), self.now, encode_order(order)) == b"ok"
        self._note_appended()

    def is_waiting(self, event: UUID) -> bool:
        """Whether an event, or anything of a reservation, is accepted and not posted."""
        return any(
            (entry.payload is not None and entry.payload.event_id == event)
            or (entry.reservation is not None and entry.reservation.reservation_id == event)
            for entry in self.waiting
        )

    # ---- the edge

    def use(self, who: str, key: str, feature: str, cost: int, *, enforce: bool) -> Answer | None:
        """What the edge answers to usage; None where it is unavailable."""
        usage_id = event_id(who, key)
        payload = encode_usage(UsagePayload(usage_id, feature, max(1, cost), PRICE_ID, None, key, None))
        for _ in range(ATTEMPTS):
            before = self.memory.newest_id
            call = Accept(ref_of(who), usage_id, self.now, SNAPSHOT, cost, payload, enforce=enforce)
            kind, *rest = scripts.accept(self.memory, call)
            if kind != b"wait":
                if self.memory.newest_id != before:
                    self.log.append(self._newest())
                return _read_answer(kind, rest[0])
            if not self._pass_boundary(who, before):
                return None
        raise AssertionError("the edge waits for ever")

    def sweep(self, who: str) -> None:
        """Jobs look whether a tick is due."""
        before = self.memory.newest_id
        scripts.tick(self.memory, ref_of(who), self.now)
        if self.memory.newest_id != before:
            self._reached["tick by jobs"] += 1
            self._note_appended(who)

    def forget(self, who: str, key: str) -> None:
        """The window of an idempotency key is over."""
        self.memory.seen.pop(event_id(who, key), None)

    # ---- the edge: reservations

    def reserve(self, who: str, key: str, hold: tuple[str, int, int], *, enforce: bool) -> Answer | None:
        """What the edge answers to an opening; None where it is unavailable. `hold` = (feature, cost, how long)."""
        feature, cost, lasts = hold
        opening = ReservationOpening(
            reservation_id=event_id(who, key),
            feature_key=feature,
            units_micro=cost,
            in_credits=False,
            price_id=PRICE_ID,
            idempotency_key=key,
        )
        payload, lowest = encode_change(opening), "" if enforce else "-"
        self._owners[opening.reservation_id] = who, key, feature
        for _ in range(ATTEMPTS):
            call = Reserve(ref_of(who), opening.reservation_id, self.now, SNAPSHOT, cost, lasts, payload, lowest)
            before = self.memory.newest_id
            kind, *rest = reservations.reserve(self.memory, call)
            if kind == b"due":
                self._reached["what is past due expires before a refusal"] += 1
                for member in rest:
                    self._expire(keys.reservation_id_of(member))
            elif kind != b"wait":
                if self.memory.newest_id != before:
                    self.log.append(self._newest())
                answer = _read_answer(b"ok", rest[-1], is_opening=True)
                return replace(answer, available=0) if kind == b"seen" and not rest[0] else answer
            elif not self._pass_boundary(who, before):
                return None
        raise AssertionError("the edge waits for ever")

    def _pass_boundary(self, who: str, before: scripts.StreamId) -> bool:
        """What the edge does at a boundary; whether it may ask again."""
        self._reached["edge waits at a boundary"] += 1
        if self.memory.newest_id != before:
            self._note_appended(who)
        if not self.is_up:
            self._reached["unavailable while the flusher is stopped"] += 1
            return False
        self.flush(1_000)
        self.now += 1
        return True

    def _expire(self, reservation_id: UUID) -> None:
        """What is past due ends: the reference hears of it at once."""
        who, key, _ = self._owners[reservation_id]
        assert self.end(who, key, "expired", 0) == self._reference.end(who, key, "expired", 0, self.now)
        self.now += 1  # so that no two refunds are granted at one moment: their ids would decide which is spent first

    def end(self, who: str, key: str, verb: str, used: int) -> Ended:
        """What the edge answers to a call that ends a reservation; what it counted, the reference is told."""
        reservation_id = event_id(who, key)
        self._restore(reservation_id)
        _, _, feature = self._owners.get(reservation_id, (who, key, ""))
        call = End(
            ref_of(who),
            reservation_id,
            self.now,
            verb,
            used,
            str(used) if verb == "committed" else "",
            _end(reservation_id, feature, verb, used),
            _end(reservation_id, feature, "expired", 0),
            encode_usage(UsagePayload(reservation_id, feature, used, PRICE_ID, None, None, None)),
        )
        before = self.memory.newest_id
        kind, *rest = reservations.end(self.memory, call)
        left = [_parse(*entry) for entry in self.memory.stream if entry[0] > before]
        self.log += left
        self._reference.counted = [entry.cost_micro for entry in left]
        return _read_ended(kind, rest)

    def extend(self, who: str, key: str, lasts: int) -> str:
        """What the edge answers to an extension."""
        reservation_id = event_id(who, key)
        self._restore(reservation_id)
        _, _, feature = self._owners.get(reservation_id, (who, key, ""))
        change = ReservationExtension(reservation_id=reservation_id, feature_key=feature)
        before = self.memory.newest_id
        call = Extend(ref_of(who), reservation_id, self.now, lasts, encode_change(change))
        kind, *rest = reservations.extend(self.memory, call)
        if self.memory.newest_id != before:
            self.log.append(self._newest())
        return rest[0].decode() if kind == b"ended" else kind.decode()

    def forget_hold(self, who: str, key: str) -> bool:
        """The window of a reservation is over: it has ended, and all of it is posted. Whether that is so."""
        held = self.memory.reservations.get(event_id(who, key))
        if held is None or held.state == "open" or self.is_waiting(event_id(who, key)):
            return False
        del self.memory.reservations[event_id(who, key)]
        return True

    def _restore(self, reservation_id: UUID) -> None:
        """Core puts back what has ended and is not in Redis any more."""
        known = self.rows.reservations.get(reservation_id)
        before = self.memory.reservations.get(reservation_id)
        if known is None or known.is_open or (before is not None and before.state != "refused"):
            return
        held, event = before or Held(""), self.rows.events.get(reservation_id)
        held.state, held.reserved, held.due = known.state.value, known.reserved_micro, known.expires_at
        held.state = "committed" if held.state == "released" and event is not None else held.state
        used = event.cost_micro if held.state == "committed" and event is not None else 0
        held.ended_asked = str(used) if held.state == "committed" else ""
        held.ended = f"{used}:{max(0, known.reserved_micro - used)}:0:0"
        if held.state == "expired" and event is not None:
            held.late_asked, held.late = str(event.cost_micro), f"{event.cost_micro}:0:0:1"
        self.memory.reservations[reservation_id] = held

    # ---- the flusher

    @property
    def waiting(self) -> list[StreamEntry]:
        """Entries that are not posted."""
        return [_parse(*entry) for entry in self.memory.stream if entry[0] > self._cursor]

    def flush(self, size: int, most: int = 1_000, *, publishes: bool = True) -> None:
        """A turn of the flusher: what waits, at most so many, in batches; it may die before it publishes."""
        if not self.is_up:
            return
        self.memory.stream = [entry for entry in self.memory.stream if entry[0] > self._cursor]
        entries = self.waiting[:most]
        batches = list[set[bytes]]()
        for batch in self._flusher(self.rows, entries, size):
            self._cursor = batch[-1].stream_id
            batches.append({entry.ref for entry in batch})
            self._unpublished |= batches[-1]
            if publishes:
                self._publish_all()
        self._count_cuts(batches)
        if publishes:
            self._publish_all()
        elif entries:
            self._reached["flusher dies between commit and publish"] += 1

    def _count_cuts(self, batches: list[set[bytes]]) -> None:
        cut = any(earlier & later for earlier, later in pairwise(batches))
        self._reached["batches cut between two entries of one customer"] += cut
        self._reached["one batch of several customers"] += any(len(batch) > 1 for batch in batches)

    def _publish_all(self) -> None:
        while self._unpublished:
            self._publish(self._unpublished.pop(), INCARNATION)

    def _publish(self, ref: bytes, incarnation: str) -> None:
        state = self.rows.state(ref)
        scripts.publish(self.memory, Publish(state, incarnation, self._cursor, b"token"))
        waiting = sum(entry.ref == ref for entry in self.waiting)
        self._reference.learn(self.rows.accounts[ref].end_user_id, waiting)

    # ---- the stream

    def _newest(self) -> StreamEntry:
        return _parse(*self.memory.stream[-1])

    def _note_appended(self, ticked: str | None = None) -> None:
        self.log.append(self._newest())
        if ticked is not None:
            self._reference.tick(ticked, self._newest().accepted_at)


def _parse(stream_id: scripts.StreamId, fields: scripts.Fields) -> StreamEntry:
    entry = parse_entry(show_stream_id(stream_id).encode(), fields)
    assert isinstance(entry, StreamEntry)
    return entry


def _read_answer(kind: bytes, content: bytes, *, is_opening: bool = False) -> Answer:
    """The outcome as `accept.lua` writes it, new or remembered."""
    assert kind in {b"ok", b"seen"}
    text = (content if kind == b"ok" else content[1 + content[0] :]).decode()
    figures = [int(number) for number in text[1:].split(":")]
    return Answer(text[0] == "+", figures[0], figures[1], figures[2] if text[0] == "+" and not is_opening else 0)


def _read_ended(kind: bytes, rest: list[bytes]) -> Ended:
    """What an end comes to, without the balance: of what is due at that moment it does not know yet."""
    if kind == b"ended":
        return Ended(rest[0].decode())
    if kind not in {b"ok", b"again"}:
        return Ended(kind.decode())
    used, released, _, is_late = map(int, rest[0].split(b":"))
    if is_late:
        return Ended("late" if kind == b"ok" else "late again", used)
    return Ended(kind.decode(), used, released)


def _end(reservation_id: UUID, feature: str, state: str, used: int) -> bytes:
    is_commit = state == "committed"
    end = ReservationEnd(
        reservation_id=reservation_id,
        feature_key=feature,
        state=ReservationState(state),
        units_micro=used if is_commit else 0,
        price_id=PRICE_ID if is_commit else None,
    )
    return encode_change(end)
